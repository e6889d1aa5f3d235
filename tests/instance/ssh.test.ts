/** How an instance is reached by ssh (specification, section 19). */
import { expect, test } from "bun:test";
import { sshConfigText } from "../../lib/instance/ssh.ts";

const TARGET = {
  home: "/h",
  name: "my_vm",
  user: "me",
  port: 60022,
  forwardAgent: false,
  forwardX11: false,
  forwardX11Trusted: false,
};
const lines = (more: object) => sshConfigText({ ...TARGET, ...more }).split("\n");

test("the host is the instance's host name, with Lima's options", () => {
  expect(lines({})).toEqual(
    expect.arrayContaining([
      "Host lima-my-vm",
      '  IdentityFile "/h/_config/user"',
      "  User me",
      '  ControlPath "/h/my_vm/ssh.sock"',
      "  Hostname 127.0.0.1",
      "  Port 60022",
    ]),
  );
  expect(lines({}).join()).not.toMatch(/Forward/);
});

test.each([
  ["forwardAgent", "  ForwardAgent yes"],
  ["forwardX11", "  ForwardX11 yes"],
  ["forwardX11Trusted", "  ForwardX11Trusted yes"],
])("ssh.%s is %s", (key, line) => {
  expect(lines({ [key]: true }).filter((text) => text.includes("Forward"))).toEqual([line]);
});
