/**
 * A name server that misbehaves as the first label of a name says, on UDP and TCP. Every answer bears the server's tag,
 * so that a test sees who gave it: HINFO "TAG", A 192.0.2.TAG, MX TAG mail.example.test.
 *
 *   bun tests/support/name-server.ts ADDRESS PORT TAG
 */
import { decode, encode, type Answer, type Packet } from "dns-packet";
import { withoutOldErrors } from "../../lib/host/dns-upstream-sockets.ts";

type Reply = (octets: Uint8Array, afterMs?: number) => void;
type Send = (octets: Uint8Array) => void;

export class NameServer {
  /** names asked for, with the transport */
  readonly asked: string[] = [];
  /** source ports of UDP queries, and their ids */
  readonly ports: number[] = [];
  readonly ids: number[] = [];
  port = 0;
  #close: (() => void)[] = [];
  readonly #tag: number;

  constructor(tag: number) {
    this.#tag = tag;
  }

  /** Port 0 takes one that is free for UDP and TCP. */
  async listen(hostname: string, port = 0): Promise<this> {
    for (;;) {
      try {
        return await this.#bind(hostname, port);
      } catch (failure) {
        this.close();
        if (port !== 0 || (failure as { code?: string }).code !== "EADDRINUSE") throw failure;
      }
    }
  }

  async #bind(hostname: string, port: number): Promise<this> {
    // who is told a lie may say so by ICMP
    const error = () => {};
    const stranger = await Bun.udpSocket({ hostname, socket: { error } });
    const udp = await Bun.udpSocket({
      hostname,
      port,
      socket: {
        error,
        data: (socket, octets, from, address) => {
          this.ports.push(from);
          this.ids.push((octets[0]! << 8) | octets[1]!);
          this.#answer(
            octets,
            "udp",
            (reply) => withoutOldErrors(socket, () => socket.send(reply, from, address)),
            (reply) => withoutOldErrors(stranger, () => stranger.send(reply, from, address)),
          );
        },
      },
    });
    this.port = udp.port;
    this.#close = [() => stranger.close(), () => udp.close()];
    const tcp = Bun.listen<{ input: Buffer }>({
      hostname,
      port: udp.port,
      socket: {
        open: (socket) => void (socket.data = { input: Buffer.alloc(0) }),
        data: (socket, octets) => {
          const input = Buffer.concat([socket.data.input, octets]);
          const length = input.length < 2 ? Infinity : input.readUInt16BE(0);
          socket.data.input = input;
          if (input.length < 2 + length) return;
          const send = (reply: Uint8Array) => {
            const framed = Buffer.concat([
              Buffer.from([reply.length >> 8, reply.length & 255]),
              reply,
            ]);
            socket.write(framed);
          };
          const { questions } = decode(input.subarray(2));
          if (questions![0]!.name.startsWith("cut-close")) {
            this.asked.push(`tcp ${questions![0]!.name}`);
            socket.end(Buffer.from([1, 0, 7, 7]));
          } else this.#answer(input.subarray(2), "tcp", send, send);
        },
      },
    });
    this.#close.push(() => tcp.stop(true));
    return this;
  }

  close(): void {
    for (const close of this.#close) close();
  }

  #answer(octets: Uint8Array, transport: "udp" | "tcp", send: Send, sendAsStranger: Send): void {
    const query = decode(Buffer.from(octets));
    const name = query.questions![0]!.name;
    this.asked.push(`${transport} ${name}`);
    const later: Reply = (reply, afterMs = 0) => void setTimeout(send, afterMs, reply);
    const right = this.#reply(query);
    const wrong = new NameServer(66).#reply(query);
    const word = name.split(".")[0]!.toLowerCase();
    const number = Number(/-(\d+)$/.exec(word)?.[1] ?? 0);
    switch (word.replace(/-\d+$/, "")) {
      case "silent":
        return;
      case "delay":
        later(right, number);
        return;
      case "liar":
        // a wrong id, another question, no reply at all, a stranger's word; then the truth
        send(changedId(wrong));
        send(
          new NameServer(66).#reply({ ...query, questions: [{ type: "A", name: "liar.test" }] }),
        );
        send(wrong.with(2, wrong[2]! & 0x7f));
        send(wrong.subarray(0, 17));
        sendAsStranger(wrong);
        later(right, 50);
        return;
      case "cut":
      case "cut-close":
        if (transport === "udp") send(encode({ ...reply(query), flags: 0x8380 }));
        else send(right);
        return;
      case "servfail":
        send(encode({ ...reply(query), flags: 0x8182 }));
        return;
      case "nx":
        // whoever applies a search list would find this
        if (name.endsWith(".search.test")) send(right);
        else send(encode({ ...reply(query), flags: 0x8183, authorities: [SOA] }));
        return;
      default:
        send(right);
    }
  }

  #reply(query: Packet): Uint8Array {
    const { name, type } = query.questions![0]!;
    const ttl = Number(/^ttl-(\d+)/.exec(name)?.[1] ?? 60);
    const chain = /^alias\.(.*)/i.exec(name);
    const owner = chain === null ? name : `target.${chain[1]}`;
    const data: Partial<Record<string, unknown>> = {
      HINFO: { cpu: String(this.#tag), os: "x".repeat(name.startsWith("long") ? 200 : 1) },
      A: `192.0.2.${this.#tag}`,
      MX: { preference: this.#tag, exchange: "mail.example.test" },
      TXT: String(this.#tag),
      SRV: { priority: 1, weight: 2, port: this.#tag, target: "srv.example.test" },
      NS: `ns${this.#tag}.example.test`,
    };
    const answers: Answer[] = [];
    if (chain !== null) answers.push({ type: "CNAME", name, ttl: 33, data: owner });
    if (data[type] !== undefined)
      answers.push({ type, name: owner, ttl, data: data[type] } as unknown as Answer);
    return encode({ ...reply(query), answers });
  }
}

const SOA: Answer = {
  type: "SOA",
  name: "test",
  ttl: 60,
  data: { mname: "a", rname: "b", serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 60 },
};

const reply = (query: Packet): Packet => ({
  type: "response",
  id: query.id ?? 0,
  flags: 0x8180,
  questions: query.questions ?? [],
});

const changedId = (octets: Uint8Array) => octets.with(0, octets[0]! ^ 1);

if (import.meta.main) {
  const [address = "", port = "", tag = ""] = process.argv.slice(2);
  await new NameServer(Number(tag)).listen(address, Number(port));
}
