#!/usr/bin/env bun
import { run } from "./lib/cli/program.ts";

// at once: threads that still wait in the system's resolver must not hold the process
process.exit(await run(process.argv.slice(2)));
