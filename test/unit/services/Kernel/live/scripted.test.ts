/** What the live session makes of answers that no test can get from a real kernel at will. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Encode from "../../../../../src/insn/Encode.ts"
import * as Arena from "../../../../../src/services/Kernel/abi/Arena.ts"
import * as Attr from "../../../../../src/services/Kernel/abi/Attr.ts"
import { Command } from "../../../../../src/services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../../../../src/services/Kernel/abi/Errno.ts"
import type { Attempt, Observer } from "../../../../../src/services/Kernel/Kernel.ts"
import type { MapAttributes, ProgLoad } from "../../../../../src/services/Kernel/KernelCall.ts"
import { fromErrno } from "../../../../../src/services/Kernel/KernelError.ts"
import { grownLogSize } from "../../../../../src/services/Kernel/live/LoadLog.ts"
import * as Ref from "../../../../../src/services/Kernel/Ref.ts"
import { kernel, type Script, type Trace } from "./fakeSys.ts"

const progLoad: ProgLoad = {
  _tag: "ProgLoad",
  as: Ref.prog(0),
  attr: {
    name: "p",
    type: 1,
    expectedAttachType: 0,
    license: "GPL",
    kernelVersion: 0,
    flags: 0,
    ifindex: 0
  },
  code: { insns: Encode.program(Encode.mov64Imm(0, 0), Encode.exit()), refs: [] },
  log: { level: 0 }
}

const mapAttributes: MapAttributes = {
  name: "m",
  type: 1,
  keySize: 4,
  valueSize: 8,
  maxEntries: 4,
  flags: 0,
  numaNode: 0,
  ifindex: 0,
  extra: 0n
}

/** An observer that writes down why each attempt was made, and how it ended. */
const recorder = (seen: Array<string>, refuse?: (attempt: Attempt) => number | undefined): Observer => ({
  before: (attempt) => {
    const errno = refuse?.(attempt)
    return errno === undefined ? Effect.void : Effect.fail(fromErrno(attempt.call._tag, "injected", errno))
  },
  after: ({ because, number }, answer) =>
    Effect.sync(() => {
      const end = Result.isSuccess(answer) ? "ok" : "errno" in answer.failure ? answer.failure.errno : "?"
      seen.push(`${number} ${because ?? "first"}: ${end}`)
    })
})

const commandOf = (trace: Trace): ReadonlyArray<number> =>
  trace.flatMap((entry) => entry._tag === "bpf" ? [entry.command] : [])

/** The log settings of each program load, in order. */
const logsOf = (trace: Trace): ReadonlyArray<readonly [number, number]> =>
  trace.flatMap((entry) => {
    if (entry._tag !== "bpf" || entry.command !== Command.BPF_PROG_LOAD) return []
    const bytes = new Uint8Array(entry.arena.buffer)
    return [[Arena.readNumber(bytes, Arena.u32(24)), Arena.readNumber(bytes, Arena.u32(28))] as const]
  })

const write = (arena: Arena.Arena, text: string, trueSize: number): void => {
  const log = Arena.region(arena as Arena.Arena<typeof Attr.ProgLoad>, "log_buf")
  log.set(new TextEncoder().encode(text).subarray(0, log.length - 1))
  new DataView(arena.buffer).setUint32(140, trueSize, Arena.hostIsLittle)
}

const load = (script: Script, call: ProgLoad = progLoad, refuse?: (attempt: Attempt) => number | undefined) =>
  Effect.gen(function*() {
    const trace: Trace = []
    const seen: Array<string> = []
    const result = yield* Effect.scoped(Effect.gen(function*() {
      const session = yield* kernel(script, trace).session({ observer: recorder(seen, refuse) })
      return yield* Effect.result(session.call(call))
    }))
    return { trace, seen, result }
  })

describe("ProgLoad", () => {
  it.live("asks for no log when the program is accepted", () =>
    Effect.gen(function*() {
      const { result, seen, trace } = yield* load(() => 7)
      assert.deepStrictEqual(Result.isSuccess(result) && result.success, { log: "" })
      assert.deepStrictEqual(seen, ["0 first: ok"])
      assert.deepStrictEqual(logsOf(trace), [[0, 0]])
      assert.isTrue(trace.every((entry) => entry._tag !== "bpf" || entry.isAsync), "the event loop goes on meanwhile")
      assert.deepStrictEqual(trace.at(-1), { _tag: "close", fd: 7 })
    }))

  it.live("asks for a log after a failure, and grows it as the kernel says", () =>
    Effect.gen(function*() {
      const { result, seen, trace } = yield* load((_, arena, index) => {
        if (index === 0) return -numbers.EINVAL
        write(arena, index === 1 ? "end of it\n" : "all of it\n", 100_000)
        return index === 1 ? -numbers.ENOSPC : -numbers.EACCES
      })
      assert.deepStrictEqual(seen, ["0 first: EINVAL", "1 log: ENOSPC", "2 log of 100000 bytes: EACCES"])
      assert.deepStrictEqual(logsOf(trace), [[0, 0], [1, 65536], [1, 100_000]])
      if (Result.isSuccess(result) || result.failure._tag !== "VerifierError") return assert.fail("not refused")
      assert.strictEqual(result.failure.errno, "EACCES")
      assert.strictEqual(result.failure.log, "all of it\n")
      assert.strictEqual(result.failure.summary, "all of it")
    }))

  it.live("doubles the log for kernels that do not tell its size, and stops where they refuse the buffer", () =>
    Effect.gen(function*() {
      const { result, seen } = yield* load((_, arena, index) => {
        if (index === 0) return -numbers.EACCES
        if (index > 9) return -numbers.EINVAL
        write(arena, `part ${index}\n`, 0)
        return -numbers.ENOSPC
      })
      assert.strictEqual(seen.length, 11)
      assert.strictEqual(seen.at(-1), "10 log of 33554432 bytes: EINVAL")
      if (Result.isSuccess(result) || result.failure._tag !== "VerifierError") return assert.fail("not refused")
      assert.strictEqual(result.failure.errno, "EACCES", "the verifier's word, not that about the log")
      assert.strictEqual(result.failure.log, "part 9\n")
    }))

  it.live("uses a requested log at once and hands it out", () =>
    Effect.gen(function*() {
      const { result, seen, trace } = yield* load(
        (_, arena, index) => {
          write(arena, "processed 2 insns\n", index === 0 ? 70_000 : 19)
          return index === 0 ? -numbers.ENOSPC : 9
        },
        { ...progLoad, log: { level: 6 } }
      )
      assert.deepStrictEqual(seen, ["0 first: ENOSPC", "1 log of 70000 bytes: ok"])
      assert.deepStrictEqual(logsOf(trace), [[6, 65536], [6, 70_000]])
      assert.deepStrictEqual(Result.isSuccess(result) && result.success, { log: "processed 2 insns\n" })
    }))

  it.live("tries again after EAGAIN, five times in all per question, and after EINTR", () =>
    Effect.gen(function*() {
      const patient = yield* load((_, __, index) => index < 3 ? -numbers.EAGAIN : index === 3 ? -numbers.EINTR : 5)
      assert.deepStrictEqual(patient.seen, [
        "0 first: EAGAIN",
        "1 EAGAIN: EAGAIN",
        "2 EAGAIN: EAGAIN",
        "3 EAGAIN: EINTR",
        "4 EINTR: ok"
      ])
      const hopeless = yield* load(() => -numbers.EAGAIN)
      assert.strictEqual(hopeless.seen.length, 10)
      assert.strictEqual(hopeless.seen[5], "5 log: EAGAIN")
      const { result } = hopeless
      if (Result.isSuccess(result) || result.failure._tag !== "VerifierError") return assert.fail("not refused")
      assert.strictEqual(result.failure.errno, "EAGAIN")
      assert.match(result.failure.hint ?? "", /profiler/)
    }))

  it.live("takes an attempt that an observer refuses for one that the kernel refused, and does not enter it", () =>
    Effect.gen(function*() {
      const once = yield* load(() => 4, progLoad, ({ number }) => number === 0 ? numbers.EINTR : undefined)
      assert.deepStrictEqual(once.seen, ["1 EINTR: ok"])
      assert.deepStrictEqual(commandOf(once.trace), [Command.BPF_PROG_LOAD])
      const always = yield* load(() => 4, progLoad, () => numbers.EPERM)
      assert.deepStrictEqual(commandOf(always.trace), [])
      if (Result.isSuccess(always.result) || always.result.failure._tag !== "VerifierError") {
        return assert.fail("loaded")
      }
      assert.strictEqual(always.result.failure.errno, "EPERM")
    }))

  it.live("names the errno and hints at rights when the verifier says nothing", () =>
    Effect.gen(function*() {
      const { result } = yield* load(() => -numbers.EPERM)
      if (Result.isSuccess(result) || result.failure._tag !== "VerifierError") return assert.fail("not refused")
      assert.strictEqual(result.failure.log, "")
      assert.match(result.failure.message, /^program p was refused \(EPERM\)\nhint: run as root/)
    }))

  it.live("does not hint at policies when the verifier has spoken", () =>
    Effect.gen(function*() {
      const { result } = yield* load((_, arena, index) => {
        if (index > 0) write(arena, "something new\n", 15)
        return -numbers.EACCES
      })
      assert.deepStrictEqual(
        Result.isFailure(result) && result.failure.message,
        "program p was refused (EACCES): something new"
      )
    }))

  it.live("sends records again without what the kernel does not know in them, once for each kind", () =>
    Effect.gen(function*() {
      const records = (recordSize: number) => ({ recordSize, records: new Uint8Array(2 * recordSize).fill(0xff) })
      const call: ProgLoad = { ...progLoad, btf: Ref.btf(0), funcInfo: records(12), lineInfo: records(20) }
      /** A kernel that knows 8 and 16 bytes; `deaf` never takes any. */
      const answering = (deaf: boolean): Script => (command, arena) => {
        if (command !== Command.BPF_PROG_LOAD) return 3
        const typed = arena as Arena.Arena<typeof Attr.ProgLoad>
        const view = new DataView(arena.buffer)
        const isZero = (field: "func_info" | "line_info", size: number, known: number): boolean =>
          Arena.region(typed, field).every((byte, at) => at % size < known || byte === 0)
        if (!isZero("func_info", 12, 8) || deaf) {
          view.setUint32(Attr.ProgLoad.fields.func_info_rec_size.offset, 8, Arena.hostIsLittle)
          return -numbers.E2BIG
        }
        if (!isZero("line_info", 20, 16)) {
          view.setUint32(Attr.ProgLoad.fields.line_info_rec_size.offset, 16, Arena.hostIsLittle)
          return -numbers.E2BIG
        }
        return 7
      }
      const run = (script: Script) =>
        Effect.gen(function*() {
          const [trace, seen]: [Trace, Array<string>] = [[], []]
          const result = yield* Effect.scoped(Effect.gen(function*() {
            const session = yield* kernel(script, trace).session({ observer: recorder(seen) })
            yield* session.call({ _tag: "BtfLoad", as: Ref.btf(0), bytes: new Uint8Array(1) })
            return yield* Effect.result(session.call(call))
          }))
          return { trace, seen: seen.slice(1), result }
        })
      const patient = yield* run(answering(false))
      assert.isTrue(Result.isSuccess(patient.result))
      assert.deepStrictEqual(patient.seen, [
        "0 first: E2BIG",
        "1 function records of 8 bytes: E2BIG",
        "2 line records of 16 bytes: ok"
      ])
      const last = patient.trace.findLast((entry) => entry._tag === "bpf" && entry.command === Command.BPF_PROG_LOAD)
      if (last?._tag !== "bpf") return assert.fail("not loaded")
      const sent = last.arena as Arena.Arena<typeof Attr.ProgLoad>
      // Length and number of the records stay, and what the kernel knows of them.
      assert.strictEqual(Arena.field(sent, "func_info_rec_size"), 12)
      assert.strictEqual(Arena.field(sent, "line_info_rec_size"), 20)
      assert.strictEqual(Arena.field(sent, "func_info_cnt"), 2)
      assert.isTrue(Arena.region(sent, "line_info").every((byte, at) => byte === (at % 20 < 16 ? 0xff : 0)))
      // The plan's own records are untouched.
      assert.isTrue(call.funcInfo?.records.every((byte) => byte === 0xff))
      const hopeless = yield* run(answering(true))
      assert.deepStrictEqual(hopeless.seen, [
        "0 first: E2BIG",
        "1 function records of 8 bytes: E2BIG",
        "2 log: E2BIG"
      ])
      assert.match(
        Result.isFailure(hopeless.result) ? hopeless.result.failure.message : "",
        /E2BIG.*\n?hint: .*records/s
      )
    }))

  it.live("refuses what the kernel would misread, without entering it", () =>
    Effect.gen(function*() {
      const records = { recordSize: 8, records: new Uint8Array(12) }
      const bad: ReadonlyArray<ProgLoad> = [
        { ...progLoad, code: { insns: new Uint8Array(0), refs: [] } },
        { ...progLoad, code: { insns: new Uint8Array(12), refs: [] } },
        { ...progLoad, attr: { ...progLoad.attr, license: "GPL\0evil" } },
        { ...progLoad, funcInfo: records },
        { ...progLoad, lineInfo: { ...records, recordSize: 0 } },
        { ...progLoad, code: { ...progLoad.code, coreRelocations: { recordSize: 16, records: new Uint8Array(16) } } },
        { ...progLoad, code: { ...progLoad.code, refs: [{ _tag: "MapRef", at: 0, map: Ref.map(0) }] } }
      ]
      for (const call of bad) {
        const { result, trace } = yield* load(() => 4, call)
        assert.deepStrictEqual(commandOf(trace), [])
        assert.isTrue(Result.isFailure(result))
      }
    }))
})

describe("symbols of modules", () => {
  /** BTF objects by id, as the kernel lists them: vmlinux, a program's, two modules. Their descriptors are 100 + id. */
  const names = ["vmlinux", "", "nf_tables", "nf_tables_extra"]

  const script = (loaded: number): Script => (command, arena) => {
    const view = new DataView(arena.buffer)
    const first = view.getUint32(0, Arena.hostIsLittle)
    switch (command) {
      case Command.BPF_BTF_GET_NEXT_ID:
        if (first >= names.length) return -numbers.ENOENT
        view.setUint32(4, first + 1, Arena.hostIsLittle)
        return 0
      case Command.BPF_BTF_GET_FD_BY_ID:
        return first === 2 ? -numbers.ENOENT : 100 + first
      case Command.BPF_OBJ_GET_INFO_BY_FD: {
        const info = arena as Arena.Arena<typeof Attr.GetInfo>
        Arena.region(info, "info").set([1], 28)
        Arena.region(info, "info", "name").set(new TextEncoder().encode(names[first - 101]))
        return 0
      }
      default:
        return loaded
    }
  }

  const call = (owner: string): ProgLoad => ({
    ...progLoad,
    code: {
      insns: Encode.program(Encode.callHelper(1), Encode.ldImm64(1, 0n), Encode.exit()),
      refs: [0, 1].map((at) => ({
        _tag: "SymbolRef",
        at,
        symbol: { name: "s", kind: "Func", weak: false, resolved: { owner, id: 55 } }
      }))
    },
    attachTo: { name: "t", kind: "Func", weak: false, resolved: { owner, id: 66 } }
  })

  const closed = (trace: Trace): ReadonlyArray<number> =>
    trace.flatMap((entry) => entry._tag === "close" ? [entry.fd] : [])

  it.live("name the module's BTF by a descriptor that lives as long as the load", () =>
    Effect.gen(function*() {
      const { result, trace } = yield* load(script(9), call("nf_tables"))
      assert.isTrue(Result.isSuccess(result))
      const entry = trace.find((entry) => entry._tag === "bpf" && entry.command === Command.BPF_PROG_LOAD)
      if (entry?._tag !== "bpf") return assert.fail("not loaded")
      const arena = entry.arena as Arena.Arena<typeof Attr.ProgLoad>
      assert.deepStrictEqual([...new Int32Array(Arena.region(arena, "fd_array").slice().buffer)], [0, 103])
      assert.strictEqual(Arena.field(arena, "attach_btf_id"), 66)
      assert.strictEqual(Arena.field(arena, "attach_prog_fd"), 103)
      assert.deepStrictEqual(
        Arena.region(arena, "insns"),
        Encode.program(Encode.raw(0x85, 0, 2, 1, 55), Encode.ldBtfId(1, 55, 103), Encode.exit())
      )
      assert.deepStrictEqual(closed(trace), [101, 103, 9])
    }))

  it.live("close it when the load fails, and say when the module is not there", () =>
    Effect.gen(function*() {
      const failed = yield* load(script(-numbers.EINVAL), call("nf_tables"))
      assert.deepStrictEqual(closed(failed.trace), [101, 103])
      const absent = yield* load(script(9), call("nf"))
      assert.deepStrictEqual(closed(absent.trace), [101, 103, 104])
      assert.match(
        Result.isFailure(absent.result) ? absent.result.failure.message : "",
        /ESRCH\nhint: module nf is not/
      )
    }))

  it.live("take an address that was decided, and tell hidden and ambiguous ones", () =>
    Effect.gen(function*() {
      const address = (weak: boolean, resolved?: { readonly address: bigint }): ProgLoad => ({
        ...progLoad,
        code: {
          insns: Encode.program(Encode.ldImm64(1, 0n), Encode.exit()),
          refs: [{
            _tag: "SymbolRef",
            at: 0,
            symbol: { name: "jiffies", kind: "Address", weak, ...(resolved === undefined ? {} : { resolved }) }
          }]
        }
      })
      const run = (call: ProgLoad, of: bigint | "ambiguous" | undefined, hidden: boolean) =>
        Effect.gen(function*() {
          const trace: Trace = []
          const found = { addresses: () => Result.succeed({ of: new Map([["jiffies", of]]), hidden }) }
          const result = yield* Effect.scoped(Effect.gen(function*() {
            const session = yield* kernel(() => 4, trace, found).session()
            return yield* Effect.result(session.call(call))
          }))
          const entry = trace.find((entry) => entry._tag === "bpf")
          const insns = entry?._tag === "bpf"
            ? Arena.region(entry.arena as Arena.Arena<typeof Attr.ProgLoad>, "insns")
            : new Uint8Array(0)
          const failure = Result.isFailure(result) && "errno" in result.failure ? result.failure.errno : "loaded"
          return [failure, insns.length === 0 ? undefined : hex(insns.subarray(0, 16))]
        })
      const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex")
      const loaded = (value: bigint) => ["loaded", hex(Encode.ldImm64(1, value))]
      assert.deepStrictEqual(yield* run(address(false, { address: 77n }), undefined, false), loaded(77n))
      assert.deepStrictEqual(yield* run(address(false), 0xffff_ffff_8000_0000n, false), loaded(0xffff_ffff_8000_0000n))
      assert.deepStrictEqual(yield* run(address(true), undefined, false), loaded(0n))
      assert.deepStrictEqual(yield* run(address(true), 0n, true), loaded(0n))
      assert.deepStrictEqual(yield* run(address(false), undefined, false), ["ESRCH", undefined])
      assert.deepStrictEqual(yield* run(address(false), 0n, true), ["EPERM", undefined])
      assert.deepStrictEqual(yield* run(address(true), "ambiguous", false), ["ENOTUNIQ", undefined])
    }))
})

describe("grownLogSize", () => {
  it("is what the kernel asks for, else twice as much, up to the largest", () => {
    assert.strictEqual(grownLogSize(65_536, 65_537), 65_537)
    assert.strictEqual(grownLogSize(65_536, 0), 131_072)
    assert.strictEqual(grownLogSize(65_536, 65_536), undefined)
    assert.strictEqual(grownLogSize(0x2000_0001, 0), 0x3fff_ffff)
    assert.strictEqual(grownLogSize(0x3fff_ffff, 0), undefined)
    assert.strictEqual(grownLogSize(65_536, 0xffff_ffff), 0x3fff_ffff)
  })
})

describe("BtfLoad", () => {
  it.live("carries the kernel's log in its error", () =>
    Effect.gen(function*() {
      const trace: Trace = []
      const seen: Array<string> = []
      const error = yield* Effect.scoped(Effect.gen(function*() {
        const session = yield* kernel((_, arena, index) => {
          if (index > 0) {
            const log = Arena.region(arena as Arena.Arena<typeof Attr.BtfLoad>, "btf_log_buf")
            log.set(new TextEncoder().encode("magic: 0x1234\nInvalid magic\n"))
          }
          return -numbers.EINVAL
        }, trace).session({ observer: recorder(seen) })
        return yield* Effect.flip(session.call({ _tag: "BtfLoad", as: Ref.btf(0), bytes: new Uint8Array(24) }))
      }))
      assert.deepStrictEqual(seen, ["0 first: EINVAL", "1 log: EINVAL"])
      if (error._tag !== "KernelError") return assert.fail(error._tag)
      assert.strictEqual(error.log, "magic: 0x1234\nInvalid magic\n")
    }))
})

describe("calls on maps", () => {
  /** A session with one map of this kind, whose sizes the kernel would read and write by. */
  const withMap = <A>(
    more: Partial<MapAttributes>,
    script: Script,
    body: (call: import("../../../../../src/services/Kernel/Kernel.ts").Session["call"]) => Effect.Effect<A>
  ) =>
    Effect.gen(function*() {
      const trace: Trace = []
      const answer = yield* Effect.scoped(Effect.gen(function*() {
        const session = yield* kernel(script, trace).session()
        yield* Effect.orDie(session.call({ _tag: "MapCreate", as: Ref.map(0), attr: { ...mapAttributes, ...more } }))
        return yield* body(session.call)
      }))
      return { trace, answer }
    })

  const key = new Uint8Array(4)

  it.live("never let the kernel read or write beyond the caller's bytes", () =>
    Effect.gen(function*() {
      const { answer, trace } = yield* withMap({}, () => 3, (call) =>
        Effect.all([
          Effect.flip(call({ _tag: "MapLookup", map: Ref.map(0), key: new Uint8Array(3), valueSize: 8, flags: 0n })),
          Effect.flip(call({ _tag: "MapLookup", map: Ref.map(0), key, valueSize: 4, flags: 0n })),
          Effect.flip(call({
            _tag: "MapUpdate",
            map: Ref.map(0),
            key,
            value: { bytes: new Uint8Array(7), refs: [] },
            flags: 0n
          })),
          Effect.flip(call({ _tag: "MapDelete", map: Ref.map(0), key: new Uint8Array(5) })),
          Effect.flip(call({ _tag: "MapNextKey", map: Ref.map(0), keySize: 8 })),
          Effect.flip(call({ _tag: "MapNextKey", map: Ref.map(0), keySize: 4, key: new Uint8Array(0) }))
        ]).pipe(Effect.orDie))
      assert.deepStrictEqual(
        answer.map((error) => error._tag === "KernelError" && error.errno),
        Array(6).fill("EINVAL")
      )
      assert.deepStrictEqual(commandOf(trace), [Command.BPF_MAP_CREATE])
    }))

  it.live("take the values of all CPUs at once, or of one where the flags say so", () =>
    Effect.gen(function*() {
      const lookup = (valueSize: number, flags: bigint) =>
        ({ _tag: "MapLookup", map: Ref.map(0), key, valueSize, flags }) as const
      const { answer, trace } = yield* withMap({ type: 6, valueSize: 12 }, () => 3, (call) =>
        Effect.all([
          Effect.result(call(lookup(32, 0n))),
          Effect.result(call(lookup(12, 8n | (1n << 32n)))),
          Effect.result(call(lookup(12, 0n))),
          Effect.result(call(lookup(24, 0n)))
        ]))
      assert.deepStrictEqual(answer.map(Result.isSuccess), [true, true, false, false])
      // Whatever the flags, a kernel that ignores them finds room for all its CPUs.
      const rooms = trace.flatMap((entry) =>
        entry._tag === "bpf" && entry.command === Command.BPF_MAP_LOOKUP_ELEM
          ? [Arena.region(entry.arena as Arena.Arena<typeof Attr.MapElement>, "value").length]
          : []
      )
      assert.deepStrictEqual(rooms, [32, 32])
    }))

  it.live("answer undefined for what is not there, and fail for the rest", () =>
    Effect.gen(function*() {
      const { answer } = yield* withMap({}, (command, _, index) =>
        command === Command.BPF_MAP_CREATE ? 3 : index === 1 ? -numbers.ENOENT : -numbers.EPERM, (call) =>
        Effect.all([
          Effect.result(call({ _tag: "MapLookup", map: Ref.map(0), key, valueSize: 8, flags: 0n })),
          Effect.result(call({ _tag: "MapLookup", map: Ref.map(0), key, valueSize: 8, flags: 0n }))
        ]))
      assert.deepStrictEqual(Result.isSuccess(answer[0]) && answer[0].success, undefined)
      assert.isTrue(Result.isFailure(answer[1]))
    }))
})
