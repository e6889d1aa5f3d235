/** What frames every engine's own messages; all values are structured-clone data. */

/** the first message to an engine thread */
export interface ThreadStart<Options> {
  type: "start";
  /** pipe that the main thread signals after each message */
  doorbell: number;
  /** Int32Array[1] over this counts the messages sent to the engine */
  sent: SharedArrayBuffer;
  options: Options;
}

/** An expected failure, told to the person as it stands. */
export interface EngineFailure {
  /** e.g. "EADDRINUSE" */
  code: string;
  /** sentence in the style of style.md 3.5 */
  message: string;
}

/** a request with the number its reply must carry */
export type Numbered<Request> = Request & { id: number };

export type FromEngine = { fromThread: true } & (
  | { type: "ready"; facts: unknown }
  | { type: "failed"; failure: EngineFailure }
  | { type: "reply"; id: number; value: unknown }
  | { type: "failure"; id: number; failure: EngineFailure }
);
