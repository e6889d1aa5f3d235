#!/usr/bin/env bun
import { basename } from "node:path";
import { runAs } from "./lib/cli/program.ts";

// at once: threads that still wait in the system's resolver must not hold the process
process.exit(await runAs(basename(process.argv0), process.argv.slice(2)));
