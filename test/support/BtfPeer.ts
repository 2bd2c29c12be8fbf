/**
 * libbpf as a judge of BTF: runs bench/peers/btf_peer.c, built against the libbpf of the machine or against the newer one
 * of `judgesFolder`, and reads what it prints.
 *
 * @example
 * describeWith({ kind: "oracle", ...Libbpf.needs("1.5") }, "distilled base", () => {
 *   it("of all modules", () => {
 *     const answers = BtfPeer.batch("1.5", modules.map((path) => ["distill", path, vmlinux, "-", "-"]))
 *     for (const { base, error } of answers) { ... BtfPeer.bytesOf(base) ... error?.name ... }
 *   })
 * })
 */
import * as Schema from "effect/Schema"
import * as Libbpf from "./Libbpf.ts"
import { run } from "./Require.ts"

/** A blob that libbpf made; `hex` where it was asked for by the path `-`. `types` counts `void` and the base's types. */
export const Blob = Schema.Struct({
  types: Schema.Number,
  bytes: Schema.Number,
  hex: Schema.optionalKey(Schema.String)
})
/** A blob that libbpf made. */
export type Blob = typeof Blob.Type

/** What a command of the peer answers; the head of btf_peer.c says which have which. */
export const Answer = Schema.Struct({
  result: Schema.optionalKey(Blob),
  base: Schema.optionalKey(Blob),
  split: Schema.optionalKey(Blob),
  ext_hex: Schema.optionalKey(Schema.String),
  text: Schema.optionalKey(Schema.String),
  /** libbpf's error; `CRASH` as the name where the peer was ended by a signal, whose number is `errno`. */
  error: Schema.optionalKey(
    Schema.Struct({ errno: Schema.Number, name: Schema.NullOr(Schema.String), log: Schema.String })
  )
})
/** What a command of the peer answers. */
export type Answer = typeof Answer.Type

const decode = Schema.decodeUnknownSync(Schema.fromJsonString(Answer))

/** A FILE argument that carries a blob's bytes themselves, for small ones. */
export const inline = (bytes: Uint8Array): string => `hex:${Buffer.from(bytes).toString("hex")}`

/** The bytes of a blob that was asked for by the path `-`. */
export const bytesOf = (blob: Blob | undefined): Uint8Array => {
  if (blob?.hex === undefined) throw new Error("the peer gave no bytes")
  return new Uint8Array(Buffer.from(blob.hex, "hex"))
}

/** The bytes of an answer's "result" that was asked for by the path `-`; libbpf's failure throws. */
export const resultOf = (answer: Answer): Uint8Array => {
  if (answer.error !== undefined) throw new Error(`libbpf: ${answer.error.name}: ${answer.error.log}`)
  return bytesOf(answer.result)
}

/** Options of a run: how long one command may take before it counts as crashed (20 s). */
export interface BatchOptions {
  readonly seconds?: number
}

/**
 * The answers to many commands, in order, by one process: what they only read is parsed once. A command on which libbpf
 * crashes, or takes too long, is answered with an error named `CRASH`; another process does the rest.
 */
export const batch = (
  version: Libbpf.Version,
  commands: ReadonlyArray<ReadonlyArray<string>>,
  options: BatchOptions = {}
): ReadonlyArray<Answer> => {
  const answers: Array<Answer> = []
  const lines = commands.map((command) => command.join("\t"))
  while (answers.length < lines.length) {
    const done = run(Libbpf.program("btf_peer", version), ["batch", String(options.seconds ?? 20)], {
      input: lines.slice(answers.length).join("\n"),
      timeoutMilliseconds: 1_200_000
    })
    const whole = done.stdout.split("\n")
    // What follows the last end of a line is nothing, or a part of an answer that a crash cut off.
    whole.pop()
    for (const line of whole) answers.push(decode(line))
    if (answers.length === lines.length) break
    if (done.status <= 128) throw new Error(`btf_peer: status ${done.status}: ${done.stderr}`)
    answers.push({ error: { errno: done.status - 128, name: "CRASH", log: done.stderr } })
  }
  return answers
}

/** The answer to one command. */
export const ask = (version: Libbpf.Version, ...command: ReadonlyArray<string>): Answer => {
  const [answer] = batch(version, [command])
  if (answer === undefined) throw new Error("the peer gave no answer")
  return answer
}

const plain = (version: Libbpf.Version, args: ReadonlyArray<string>, input?: string): string => {
  const done = run(Libbpf.program("btf_peer", version), args, input === undefined ? {} : { input })
  if (done.status !== 0) throw new Error(`btf_peer ${args.join(" ")}: status ${done.status}: ${done.stderr}`)
  return done.stdout
}

const withBase = (base: string | undefined): ReadonlyArray<string> => base === undefined ? [] : ["--base", base]

/** The version that libbpf says it is of, as `v1.5`. */
export const library = (version: Libbpf.Version): string =>
  Schema.decodeUnknownSync(Schema.fromJsonString(Schema.Struct({ library: Schema.String })))(
    plain(version, ["version"])
  ).library

/** The C of all types, or of `ids` and what they need, without bpftool's prologue. */
export const dumpC = (
  version: Libbpf.Version,
  file: string,
  options: { readonly ids?: ReadonlyArray<number>; readonly base?: string } = {}
): string => plain(version, ["dumpc", file, ...(options.ids ?? []).map(String), ...withBase(options.base)])

/** The id of each name: kind 0 is any. Negative errno where libbpf finds none. */
export const find = (
  version: Libbpf.Version,
  file: string,
  queries: ReadonlyArray<{ readonly name: string; readonly kind: number }>,
  base?: string
): ReadonlyArray<number> =>
  plain(
    version,
    ["find", file, ...withBase(base)],
    queries.map(({ kind, name }) => `${kind} ${name}\n`).join("")
  ).trimEnd().split("\n").map(Number)

/** Size and alignment of a type in bytes; negative errno where it has none. */
export interface Layout {
  readonly id: number
  readonly size: number
  readonly alignment: number
}

/** Reads the lines of the peer's command `layout`: in a batch they are the answer's `text`. */
export const readLayout = (text: string): ReadonlyArray<Layout> =>
  text.trimEnd().split("\n").filter((line) => line !== "").map((line) => {
    const [id = Number.NaN, size = Number.NaN, alignment = Number.NaN] = line.split(" ").map(Number)
    return { id, size, alignment }
  })

/** Size and alignment of each own type. */
export const layout = (version: Libbpf.Version, file: string, base?: string): ReadonlyArray<Layout> =>
  readLayout(plain(version, ["layout", file, ...withBase(base)]))
