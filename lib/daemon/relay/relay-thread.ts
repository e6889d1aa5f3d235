/** The module of the relay's thread. */
import { postToMain } from "../../host/thread.ts";
import { serveEngine } from "../engine/thread-server.ts";
import { RelayEngine } from "./relay-engine.ts";
import type { RelayRequest } from "./relay-protocol.ts";

serveEngine<RelayEngine, object, never, RelayRequest>({
  open: () => new RelayEngine(postToMain),
  serve(engine, { path, fd }, reply) {
    engine.join(path, fd);
    reply(null);
  },
});
