/**
 * What the verbs of `prog` do on a kernel, once their words are read: each needs the Kernel service, and prints nothing.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { ProgTestRun, TestRunResult } from "../../services/Kernel/KernelCall.ts"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import type { SymbolNames } from "../../services/Kernel/live/SymbolNames.ts"
import * as Ref from "../../services/Kernel/Ref.ts"
import * as NewPin from "../objects/NewPin.ts"
import * as Objects from "../objects/Objects.ts"
import * as Words from "../objects/Words.ts"
import * as Packets from "../Packets.ts"
import { UsageError } from "../Usage.ts"
import type { Disassemble } from "./Disassembler.ts"
import * as Jited from "./Jited.ts"
import { callDistances, list, noNames, type XlatedInsn } from "./Xlated.ts"

/** `prog show`: the programs of a reference, or all. */
export const show = Effect.fnUntraced(function*(objects: Objects.Objects, words: Words.Words) {
  if (words.length === 0) return { progs: yield* Objects.progs(objects), all: true }
  const [reference, rest] = yield* Effect.fromResult(Words.reference("prog", words))
  yield* Effect.fromResult(Words.nothingLeft(rest))
  const progs = yield* Objects.findProgs(objects, reference)
  // Says that there is none.
  if (progs.length === 0) yield* Objects.oneProg(objects, reference)
  return { progs, all: false }
})

/** `prog pin`: gives the program a name. */
export const pin = Effect.fnUntraced(function*(objects: Objects.Objects, words: Words.Words) {
  const [reference, rest] = yield* Effect.fromResult(Words.reference("prog", words))
  yield* NewPin.pin(objects, "prog", (yield* Objects.oneProg(objects, reference)).ref, rest)
})

/** What `prog dump` is to show, and where. */
export interface Dump {
  /** Its instructions, or what they were compiled to. */
  readonly form: "xlated" | "jited"
  readonly reference: Words.Reference
  readonly opcodes: boolean
  readonly linum: boolean
  /** A file for the bytes themselves. */
  readonly file: string | undefined
}

/** Reads the words of `prog dump`. */
export const dumpOf = (words: Words.Words): Result.Result<Dump, UsageError> =>
  Result.gen(function*() {
    const [form = "", ...behind] = words
    if (form !== "xlated" && form !== "jited") {
      return yield* Words.wrong(
        form === "" ? "xlated" : form,
        "what is to be shown of the program is expected",
        "prog dump xlated PROG shows its instructions, prog dump jited PROG its machine code"
      )
    }
    const [reference, given] = yield* Words.reference("prog", behind)
    const dump = { reference, opcodes: false, linum: false, file: undefined as string | undefined }
    let rest: Words.Words = given
    for (let word = rest[0]; word !== undefined; word = rest[0]) {
      rest = rest.slice(1)
      switch (word) {
        case "opcodes":
          dump.opcodes = true
          break
        case "linum":
          dump.linum = true
          break
        case "file": {
          const [path, left] = yield* Words.operand("file", rest, "a path")
          dump.file = path
          rest = left
          break
        }
        case "visual":
          return yield* Words.wrong(
            "visual",
            "graphs are not drawn here",
            "bpftool prog dump xlated PROG visual does it"
          )
        default:
          return yield* Words.wrong(word, "nothing of this name is shown", "opcodes, linum, or file FILE")
      }
    }
    return { form, ...dump }
  })

/** A program's instructions: their bytes, and the listing. */
export interface Xlated {
  readonly bytes: Uint8Array
  readonly listing: ReadonlyArray<XlatedInsn>
}

/** The names of a program's maps, where they have one. */
const mapNames = Effect.fnUntraced(function*(objects: Objects.Objects, ids: ReadonlyArray<number>) {
  const names = new Map<number, string>()
  for (const id of ids) {
    const map = Ref.map(objects.fresh())
    const name = yield* Effect.orElseSucceed(
      Effect.andThen(
        objects.session.call({ _tag: "GetById", as: map, id }),
        Effect.map(objects.session.call({ _tag: "MapGetInfo", map }), (info) => info.name)
      ),
      () => ""
    )
    if (name !== "") names.set(id, name)
  }
  return names
})

/**
 * `prog dump xlated`: the program's instructions as the kernel has them. `symbols` finds names of the kernel's addresses;
 * maps are called by their names, too, with `named`.
 */
export const dump = Effect.fnUntraced(function*(
  objects: Objects.Objects,
  wanted: Dump,
  options: {
    readonly named: boolean
    readonly symbols: (distances: ReadonlySet<number>, addresses: ReadonlyArray<bigint>) => SymbolNames
  }
) {
  const { info, name } = yield* Objects.oneProg(objects, wanted.reference, { instructions: true })
  const bytes = info.instructions ?? new Uint8Array()
  if (bytes.length === 0) {
    return yield* new UsageError({
      argument: Words.written(wanted.reference),
      detail: `the kernel hides the instructions of ${name}`,
      hint: "they are shown to root where kernel.kptr_restrict is less than 2 and the program was not blinded"
    })
  }
  const maps = options.named ? yield* mapNames(objects, info.mapIds) : new Map<number, string>()
  const listing = list(info, {
    btf: yield* Objects.types(objects, info.btfId),
    symbols: options.symbols(callDistances(bytes), info.jitedSymbols ?? []),
    maps
  })
  return { bytes, listing } satisfies Xlated
})

/** `prog dump jited`: what the program was compiled to. */
export const dumpJited = Effect.fnUntraced(function*(
  objects: Objects.Objects,
  wanted: Dump,
  options: {
    readonly symbols: (distances: ReadonlySet<number>, addresses: ReadonlyArray<bigint>) => SymbolNames
    readonly disassemble: Disassemble | undefined
    /** Whether what calls lead to is looked up, too. */
    readonly named: boolean
  }
) {
  const { info, name } = yield* Objects.oneProg(objects, wanted.reference, { machineCode: true })
  if (info.machineCode === undefined) {
    return yield* info.jitedLength === 0
      ? new UsageError({
        argument: Words.written(wanted.reference),
        detail: `${name} is not compiled: the kernel interprets it`,
        hint: "programs that are loaded while net.core.bpf_jit_enable is 1 are compiled, where the kernel can"
      })
      : new UsageError({
        argument: Words.written(wanted.reference),
        detail: `the kernel hides the machine code of ${name}`,
        hint: "it is shown to root where kernel.kptr_restrict is less than 2"
      })
  }
  const known = { btf: yield* Objects.types(objects, info.btfId), disassemble: options.disassemble }
  const addresses = info.jitedSymbols ?? []
  // The kernel's table is long: it is gone through once, for all that is to be named.
  const targets = options.named ? Jited.targets(Jited.list(info, { ...known, symbols: noNames })) : []
  const symbols = options.symbols(new Set(), [...addresses, ...targets])
  return { bytes: info.machineCode.bytes, functions: Jited.list(info, { ...known, symbols }) }
})

/** What `prog run` is given, and where its results go. */
export interface Run {
  readonly reference: Words.Reference
  readonly dataIn: string | undefined
  readonly dataOut: string | undefined
  readonly dataSizeOut: number | undefined
  readonly ctxIn: string | undefined
  readonly ctxOut: string | undefined
  readonly ctxSizeOut: number | undefined
  readonly repeat: number | undefined
}

/** The most bytes that come back. */
const largestRoom = 0x1000_0000

/** Reads the words of `prog run`. */
export const runOf = (words: Words.Words): Result.Result<Run, UsageError> =>
  Result.gen(function*() {
    const [reference, given] = yield* Words.reference("prog", words)
    const texts = new Map<string, string>()
    const numbers = new Map<string, number>()
    let rest: Words.Words = given
    for (let keyword = rest[0]; keyword !== undefined; keyword = rest[0]) {
      const behind = rest.slice(1)
      if (texts.has(keyword) || numbers.has(keyword)) return yield* Words.wrong(keyword, "it is given twice")
      switch (keyword) {
        case "data_in":
        case "data_out":
        case "ctx_in":
        case "ctx_out": {
          const [path, left] = yield* Words.operand(keyword, behind, "a file")
          texts.set(keyword, path)
          rest = left
          break
        }
        case "data_size_out":
        case "ctx_size_out":
        case "repeat": {
          const [value, left] = yield* Words.numeric(
            keyword,
            behind,
            keyword === "repeat" ? 0x7fff_ffff : largestRoom
          )
          numbers.set(keyword, value)
          rest = left
          break
        }
        default:
          return yield* Words.wrong(
            keyword,
            "nothing of this name is given to a run",
            "data_in FILE [data_out FILE [data_size_out N]] [ctx_in FILE [ctx_out FILE [ctx_size_out N]]] [repeat N]"
          )
      }
    }
    // What goes to - is shown with the rest.
    for (const keyword of ["data_out", "ctx_out"]) if (texts.get(keyword) === "-") texts.delete(keyword)
    return {
      reference,
      dataIn: texts.get("data_in"),
      dataOut: texts.get("data_out"),
      dataSizeOut: numbers.get("data_size_out"),
      ctxIn: texts.get("ctx_in"),
      ctxOut: texts.get("ctx_out"),
      ctxSizeOut: numbers.get("ctx_size_out"),
      repeat: numbers.get("repeat")
    }
  })

/** Room for what comes back of a packet, which a program may make longer; bpftool's. */
const roomFor = 32 * 1024

/** Room for a context that comes back: more than any type has. */
const contextRoom = 4096

/** A run that has ended. */
export interface Ran {
  readonly name: string
  readonly type: number
  readonly result: TestRunResult
}

/** `prog run`: runs a program that is loaded on a packet, or on a context. */
export const run = Effect.fnUntraced(function*(
  objects: Objects.Objects,
  wanted: Run,
  given: { readonly data: Uint8Array | undefined; readonly context: Uint8Array | undefined }
) {
  const { info, name, ref } = yield* Objects.oneProg(objects, wanted.reference)
  const takes = Packets.takesPackets(info.type)
  if (takes && given.data === undefined) {
    return yield* new UsageError({
      argument: "data_in",
      detail: `${name} runs on a packet, and none is given`,
      hint: "data_in FILE: one packet as it is on the wire"
    })
  }
  const call: ProgTestRun = {
    _tag: "ProgTestRun",
    prog: ref,
    ...(given.data === undefined ? {} : { dataIn: given.data }),
    dataOutSize: given.data === undefined ? 0 : wanted.dataSizeOut ?? Math.max(roomFor, given.data.length + 4096),
    ...(given.context === undefined ? {} : { contextIn: given.context }),
    contextOutSize: given.context === undefined ? 0 : wanted.ctxSizeOut ?? (takes ? contextRoom : 0),
    // Types that run on no packet refuse repetition.
    repeat: wanted.repeat ?? (takes ? 1 : 0),
    flags: 0,
    cpu: 0,
    batchSize: 0
  }
  const ran: Effect.Effect<TestRunResult, CallError> = objects.session.call(call)
  return { name, type: info.type, result: yield* ran } satisfies Ran
})
