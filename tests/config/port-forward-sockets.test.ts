import { expect, test } from "bun:test";
import {
  fillSocketPath,
  GUEST_VARIABLES,
  HOST_VARIABLES,
  hostSocketPath,
  socketPathProblem,
} from "../../lib/config/port-forward-sockets.ts";

const HOST = {
  Dir: "/home/me/.lima/one",
  Name: "one",
  UID: "1000",
  User: "me",
  Home: "/home/me",
  TempDir: "/var/tmp",
  GlobalTempDir: "/tmp",
  Param: { engine: "docker" },
};

test.each([
  ["/run/d.sock", "/run/d.sock"],
  ["d.sock", "/home/me/.lima/one/sock/d.sock"],
  ["{{.Dir}}/d.sock", "/home/me/.lima/one/d.sock"],
  ["{{ .Home }}/{{.Name}}-{{- .User -}}.sock", "/home/me/one-me.sock"],
  ["{{.Name}}.sock", "/home/me/.lima/one/sock/one.sock"],
  ["{{.TempDir}}/{{.UID}}.sock", "/var/tmp/1000.sock"],
  ["{{.GlobalTempDir}}/{{.Param.engine}}.sock", "/tmp/docker.sock"],
])("hostSocketPath(%j) is %j", (text, path) => {
  expect(socketPathProblem(text, HOST_VARIABLES)).toBeUndefined();
  expect(hostSocketPath(text, HOST)).toBe(path);
});

test("fillSocketPath() says which parameter is not set", () => {
  expect(() => fillSocketPath("/tmp/{{.Param.missing}}", HOST)).toThrow(
    "Cannot fill the socket path /tmp/{{.Param.missing}}: {{.Param.missing}} is not set",
  );
});

test.each([
  ["{{.Dir}}/x", GUEST_VARIABLES, /^there is no variable Dir/],
  ["{{.Hostname}}", HOST_VARIABLES, /^there is no variable Hostname/],
  ["{{.Hom}}", GUEST_VARIABLES, /did you mean Home\?/],
  ["{{Home}}", GUEST_VARIABLES, /^\{\{Home\}\} is not understood/],
  ["{{.Home.X}}", GUEST_VARIABLES, /is not understood/],
  ["{{.Param}}", GUEST_VARIABLES, /is not understood/],
  ["{{if .Home}}x{{end}}", GUEST_VARIABLES, /is not understood/],
  ["/tmp/{{.Home", GUEST_VARIABLES, /"\{\{" without "\}\}"/],
])("socketPathProblem(%j) says what cannot be filled", (text, variables, pattern) => {
  expect(socketPathProblem(text, variables)).toMatch(pattern);
});
