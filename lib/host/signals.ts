/** Resolves with the first of the signals that ask a process to end. */
export function terminationSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
      process.on(name, () => resolve(name));
  });
}

/** Calls `tell` whenever somebody asks how the process is doing (SIGUSR1; a BSD's SIGINFO, Ctrl-T, is macOS's alone). */
export function onStatusSignal(tell: () => void): void {
  process.on("SIGUSR1", tell);
}
