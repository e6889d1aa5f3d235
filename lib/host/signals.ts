/** Resolves with the first of the signals that ask a process to end. */
export function terminationSignal(): Promise<string> {
  return new Promise((resolve) => {
    for (const name of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
      process.on(name, () => resolve(name));
  });
}
