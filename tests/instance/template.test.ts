import { expect, test } from "bun:test";
import { isTemplateLocator, nameOfTemplate } from "../../lib/instance/template.ts";

test.each([
  ["vm.yaml", "vm"],
  ["/a/b/debian-12.YML", "debian-12"],
  ["https://example.test/t/vm.yaml?raw=1", "vm"],
  ["file:///a/vm.yaml", "vm"],
  ["template:docker", "docker"],
  ["template://experimental/x", "x"],
])("%s is a template, and its instance is named %s", (locator, name) => {
  expect(isTemplateLocator(locator)).toBe(true);
  expect(nameOfTemplate(locator)).toBe(name);
});
test.each(["default", "my-vm", "template", "httpd"])("%s is the name of an instance", (name) =>
  expect(isTemplateLocator(name)).toBe(false),
);
