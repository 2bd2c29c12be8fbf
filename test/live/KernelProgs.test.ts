import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Btf from "../../src/btf/Btf.ts"
import * as Encode from "../../src/insn/Encode.ts"
import { AttachType, MapFlag, MapType, ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { Attempt, Observer } from "../../src/services/Kernel/Kernel.ts"
import type { Code, KernelSymbol } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import {
  code,
  inSession,
  kernelError,
  mapCreate,
  openDescriptors,
  progLoad,
  returning,
  testRun,
  verifierError
} from "../support/LiveKernel.ts"
import { describeWith } from "../support/Require.ts"
import * as Rights from "../support/Rights.ts"

const SIZE_DW = 0x18
const SIZE_W = 0x00

/** How CO-RE names the first member of the object itself. */
const accessString = "0:0"

/** BTF by hand: 1 int, 2 `struct task_struct { int pid; }`, 3 and 4 `int f(void)`. */
const objectBtf = (): Uint8Array => {
  const strings = ["", "int", "task_struct", "pid", "f", accessString, ""].join("\0")
  const at = (text: string) => strings.indexOf(`\0${text}\0`) + 1
  const types = [
    [at("int"), 0x0100_0000, 4, 0x0100_0020],
    [at("task_struct"), 0x0400_0001, 4, at("pid"), 1, 0],
    [0, 0x0d00_0000, 1],
    [at("f"), 0x0c00_0000, 3]
  ].flat()
  const header = [0x0001_eb9f, 24, 0, types.length * 4, types.length * 4, strings.length]
  const words = new Uint8Array(Uint32Array.from([...header, ...types]).buffer)
  return Uint8Array.from([...words, ...new TextEncoder().encode(strings)])
}

const records = (...words: ReadonlyArray<number>): Uint8Array => new Uint8Array(Uint32Array.from(words).buffer)

const symbol = (name: string, more: Partial<KernelSymbol> = {}): KernelSymbol => ({
  name,
  kind: "Func",
  weak: false,
  ...more
})

/** A program that calls or loads symbols at these slots. */
const withSymbols = (insns: Uint8Array, symbols: Readonly<Record<number, KernelSymbol>>): Code => ({
  insns,
  refs: Object.entries(symbols).map(([at, symbol]) => ({ _tag: "SymbolRef", at: Number(at), symbol }))
})

/** Whether the kernel says how large a log would have been: `log_true_size`, since 6.4. Without, the buffer is doubled. */
const tellsLogSize = Effect.gen(function*() {
  const { vmlinuxTypes } = yield* (yield* KernelLive.make).ask([{ _tag: "VmlinuxTypes" }])
  const types = vmlinuxTypes?._tag === "Known" ? vmlinuxTypes.value : assert.fail("vmlinux has no types")
  // Sizes of logs came with the function that finishes them.
  return Btf.findOne(types, "bpf_vlog_finalize", Btf.BTF_KIND_FUNC) !== undefined
})

const attemptsSeen = (seen: Array<string>): Observer => ({
  before: () => Effect.void,
  after: ({ because, number }: Attempt, answer) =>
    Effect.sync(() => {
      seen.push(`${number} ${because ?? "first"} ${Result.isSuccess(answer) ? "ok" : "refused"}`)
    })
})

describeWith({ kind: "live" }, "programs of the live kernel", () => {
  it.live("run on packets and tell what they return, how long it took, and what became of the packet", () =>
    inSession(Effect.fnUntraced(function*(session) {
      // Overwrites the first byte of the packet with 0x5a and returns XDP_TX, 3.
      const insns = code(
        Encode.ldx(SIZE_W, 2, 1, 0),
        Encode.ldx(SIZE_W, 3, 1, 4),
        Encode.mov64Reg(4, 2),
        Encode.alu64Imm(0x00, 4, 14),
        Encode.mov64Imm(0, 0),
        Encode.jmpReg(0x20, 4, 3, 2),
        Encode.st(0x10, 2, 0, 0x5a),
        Encode.mov64Imm(0, 3),
        Encode.exit()
      )
      yield* session.call(progLoad(0, insns, { type: ProgType.BPF_PROG_TYPE_XDP }))
      const packet = Uint8Array.from({ length: 60 }, (_, at) => at)
      const once = yield* session.call(testRun(0, { dataIn: packet, dataOutSize: 100 }))
      assert.strictEqual(once.retval, 3)
      assert.deepStrictEqual(once.dataOut, Uint8Array.from(packet, (byte, at) => at === 0 ? 0x5a : byte))
      assert.deepStrictEqual(once.contextOut, new Uint8Array(0))
      const often = yield* session.call(testRun(0, { dataIn: packet, repeat: 1000 }))
      assert.strictEqual(often.retval, 3)
      assert.isBelow(often.duration, 1_000_000)
      assert.deepStrictEqual(often.dataOut, new Uint8Array(0))
    })))

  it.live("take and give a context", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const insns = code(
        Encode.ldx(SIZE_DW, 2, 1, 0),
        Encode.alu64Imm(0x00, 2, 1),
        Encode.stx(SIZE_DW, 1, 2, 8),
        Encode.mov64Imm(0, 0),
        Encode.exit()
      )
      yield* session.call(progLoad(0, insns, { type: ProgType.BPF_PROG_TYPE_SYSCALL, flags: 0x10 }))
      const context = new Uint8Array(BigUint64Array.of(41n, 0n).buffer)
      const { dataIn: _, ...run } = testRun(0, { contextIn: context, contextOutSize: 16, repeat: 0 })
      const { contextOut, retval } = yield* session.call(run)
      assert.strictEqual(retval, 0)
      assert.deepStrictEqual(contextOut, new Uint8Array(BigUint64Array.of(41n, 42n).buffer))
      assert.deepStrictEqual(
        context,
        new Uint8Array(BigUint64Array.of(41n, 0n).buffer),
        "the caller's own is untouched"
      )

      // `skb->mark = skb->mark + 1`, at bytes 8 to 11 of `struct __sk_buff`, which the kernel copies out.
      const mark = code(
        Encode.ldx(SIZE_W, 2, 1, 8),
        Encode.alu64Imm(0x00, 2, 1),
        Encode.stx(SIZE_W, 1, 2, 8),
        Encode.mov64Imm(0, 0),
        Encode.exit()
      )
      yield* session.call(progLoad(1, mark, { type: ProgType.BPF_PROG_TYPE_SCHED_CLS }))
      const skb = new Uint8Array(192)
      skb[8] = 7
      const marked = yield* session.call(testRun(1, { contextIn: skb, contextOutSize: 192 }))
      assert.strictEqual(marked.contextOut[8], 8)
      const room = yield* kernelError(session.call(testRun(1, { contextIn: skb, contextOutSize: 191 })))
      assert.match(room.hint ?? "", /the context has 192 bytes, and there was room for 191/)
    })))

  it.live("say how much room is missing, how short a packet is, and which types cannot be run", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(progLoad(0, returning(2), { type: ProgType.BPF_PROG_TYPE_XDP }))
      const room = yield* kernelError(session.call(testRun(0, { dataIn: new Uint8Array(60), dataOutSize: 59 })))
      assert.strictEqual(room.errno, "ENOSPC")
      assert.match(room.hint ?? "", /the data has 60 bytes, and there was room for 59/)
      const short = yield* kernelError(session.call(testRun(0, { dataIn: new Uint8Array(13) })))
      assert.match(short.hint ?? "", /at least 14 bytes, this one has 13/)
      yield* session.call(progLoad(1, returning(0), { type: ProgType.BPF_PROG_TYPE_KPROBE }))
      const never = yield* kernelError(session.call(testRun(1)))
      assert.match(never.hint ?? "", /cannot be run on demand/)
    })))

  it.live("are refused with the verifier's words, its cause, and what it means", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const seen: Array<string> = []
      const error = yield* inSession(
        (inner) => verifierError(inner.call(progLoad(0, code(Encode.ldx(SIZE_DW, 0, 1, 8), Encode.exit())))),
        {
          observer: attemptsSeen(seen)
        }
      )
      assert.deepStrictEqual(seen, ["0 first refused", "1 log refused"])
      assert.strictEqual(error.program, "p0")
      assert.strictEqual(error.errno, "EACCES")
      assert.match(error.log, /^0: R1=ctx\((off=0,imm=0)?\) R10=fp0\n/)
      assert.match(error.log, /\nprocessed 1 insns .*\n$/)
      assert.match(error.summary, /^invalid bpf_context access off=8 size=8\nat 0: \(79\) r0 = \*\(u64 \*\)\(r1 \+8\)$/)
      assert.match(error.hint ?? "", /this field of the context/)
      const license = yield* verifierError(session.call(
        progLoad(1, code(Encode.callHelper(6), Encode.exit()), { license: "Proprietary" })
      ))
      assert.match(license.hint ?? "", /GPL-compatible/)
      const unreachable = yield* verifierError(session.call(
        progLoad(2, code(Encode.mov64Imm(0, 0), Encode.exit(), Encode.mov64Imm(0, 0), Encode.exit()))
      ))
      assert.strictEqual(unreachable.errno, "EINVAL")
      assert.match(unreachable.hint ?? "", /never run/)
      const unknown = yield* verifierError(session.call(progLoad(3, returning(0), { type: 999 })))
      assert.strictEqual(unknown.log, "")
      assert.match(unknown.message, /EINVAL\)\nhint: this kernel has no type 999 programs/)
    })))

  it.live("hand out the log that was asked for", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const silent = yield* session.call(progLoad(0, returning(1)))
      assert.strictEqual(silent.log, "")
      const verbose = yield* session.call(progLoad(1, returning(1), {}, { log: { level: 2 } }))
      assert.match(verbose.log, /0: \(b7\) r0 = 1/)
      const statistics = yield* session.call(progLoad(2, returning(1), {}, { log: { level: 4 } }))
      assert.match(statistics.log, /^verification time \d+ usec\nstack depth 0\nprocessed 2 insns/)
    })))

  it.live("have logs of any length: the buffer grows to what the kernel needs", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      // Every instruction takes a line of the log.
      const long = code(
        ...Array.from({ length: 4000 }, (_, at) => Encode.mov64Imm(at % 2 === 0 ? 0 : 9, at)),
        Encode.mov64Imm(0, 0),
        Encode.exit()
      )
      const { log } = yield* inSession(
        (session) => session.call(progLoad(0, long, {}, { log: { level: 2 } })),
        { observer: attemptsSeen(seen) }
      )
      assert.isAbove(log.length, 65_536)
      assert.match(log, /(^|\n)0: \(b7\) r0 = 0 /)
      assert.match(log, /\n3999: \(b7\) r9 = 3999 /)
      const last = seen[seen.length - 1] ?? ""
      assert.strictEqual(seen[0], "0 first refused")
      assert.match(last, /^\d log of \d+ bytes ok$/)
      if (!(yield* tellsLogSize)) return assert.isAbove(Number(/of (\d+)/.exec(last)?.[1]), log.length)
      assert.strictEqual(seen.length, 2)
      assert.strictEqual(Number(/of (\d+)/.exec(last)?.[1]), log.length + 1, "no more than is needed")
    }))

  it.live("that are refused have the whole log too", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      const long = code(
        ...Array.from({ length: 4000 }, (_, at) => Encode.mov64Imm(at % 2 === 0 ? 0 : 9, at)),
        Encode.ldx(SIZE_DW, 0, 9, 0),
        Encode.exit()
      )
      const error = yield* inSession(
        (session) => verifierError(session.call(progLoad(0, long))),
        { observer: attemptsSeen(seen) }
      )
      if (yield* tellsLogSize) assert.strictEqual(seen.length, 3)
      assert.match(error.log, /(^|\n)0: \(b7\) r0 = 0 /)
      assert.match(error.summary, /^R9 invalid mem access 'scalar'\nat 4000: /)
    }))

  it.live("refer to maps that do not exist by a poison that the error explains", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* Effect.flip(session.call(mapCreate(0, { name: "events", maxEntries: 0 })))
      const insns = Encode.program(Encode.ldImm64(1, 0n), Encode.mov64Imm(0, 0), Encode.exit())
      const refs = [{ _tag: "MapRef", at: 0, map: Ref.map(0) }] as const
      const error = yield* verifierError(session.call(progLoad(0, { insns, refs })))
      assert.match(error.summary, /^BPF map 'events' is referenced but wasn't created\n/)
      // Behind a branch that is never taken it does no harm.
      const guarded = Encode.program(
        Encode.mov64Imm(0, 0),
        Encode.jmpImm(0x10, 0, 0, 2),
        insns.slice(0, 16),
        Encode.exit()
      )
      yield* session.call(progLoad(1, { insns: guarded, refs: [{ ...refs[0], at: 2 }] }))
      assert.strictEqual((yield* session.call(testRun(1))).retval, 0)
    })))

  it.live("call functions and read variables of the kernel by name", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const type = { type: ProgType.BPF_PROG_TYPE_SCHED_CLS }
      const calls = withSymbols(
        Encode.program(
          Encode.callHelper(0),
          Encode.callHelper(0),
          Encode.mov64Imm(0, 5),
          Encode.exit()
        ),
        { 0: symbol("bpf_rcu_read_lock"), 1: symbol("bpf_rcu_read_unlock") }
      )
      // Since 6.2; older ones have no function of their own for programs of this type.
      const { vmlinuxTypes } = yield* (yield* KernelLive.make).ask([{ _tag: "VmlinuxTypes" }])
      const has = vmlinuxTypes?._tag === "Known" &&
        Btf.findOne(vmlinuxTypes.value, "bpf_rcu_read_lock", Btf.BTF_KIND_FUNC) !== undefined
      if (has) {
        yield* session.call(progLoad(0, calls, type))
        assert.strictEqual((yield* session.call(testRun(0))).retval, 5)
      } else assert.strictEqual((yield* kernelError(session.call(progLoad(0, calls, type)))).errno, "ESRCH")

      const exists = (kind: "Func" | "Var", name: string) =>
        withSymbols(
          Encode.program(
            Encode.ldImm64(1, 0n),
            Encode.mov64Imm(0, 0),
            Encode.jmpImm(0x10, 1, 0, 1),
            Encode.mov64Imm(0, 1),
            Encode.exit()
          ),
          { 0: symbol(name, { kind, weak: true }) }
        )
      yield* session.call(progLoad(1, exists("Func", "bpf_rcu_read_lock"), type))
      yield* session.call(progLoad(2, exists("Func", "bpf_no_such"), type))
      assert.strictEqual((yield* session.call(testRun(1))).retval, has ? 1 : 0)
      assert.strictEqual((yield* session.call(testRun(2))).retval, 0)

      // Kernels without CONFIG_KALLSYMS_ALL have the types of variables and not their addresses.
      const variable = yield* Effect.result(session.call(progLoad(3, exists("Var", "runqueues"), type)))
      const kernel = yield* KernelLive.make
      const { symbols } = yield* kernel.ask([{ _tag: "Symbol", name: "runqueues" }])
      const address = symbols?.get("runqueues")
      if (Result.isSuccess(variable)) return assert.strictEqual((yield* session.call(testRun(3))).retval, 1)
      assert.deepStrictEqual(address, { _tag: "Known", value: undefined })
      assert.match(variable.failure.message, /failed to find the address for kernel symbol 'runqueues'/)
    })))

  it.live("take addresses from kallsyms, 0 for weak symbols that are missing", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const program = Encode.program(Encode.ldImm64(0, 0n), Encode.exit())
      const address = (name: string, weak: boolean) =>
        withSymbols(program, { 0: symbol(name, { kind: "Address", weak }) })
      if (!Rights.addresses()) {
        const hidden = yield* kernelError(session.call(progLoad(0, address("bpf_prog_put", false))))
        assert.strictEqual(hidden.errno, "EPERM")
        assert.match(hidden.hint ?? "", /hides the address of bpf_prog_put .*kptr_restrict/)
        return
      }
      yield* session.call(progLoad(0, address("bpf_prog_put", false)))
      const low = (yield* session.call(testRun(0))).retval
      const kernel = yield* KernelLive.make
      const { symbols } = yield* kernel.ask([{ _tag: "Symbol", name: "bpf_prog_put" }])
      const fact = symbols?.get("bpf_prog_put")
      assert.strictEqual(
        fact?._tag === "Known" && typeof fact.value === "bigint" && BigInt.asUintN(32, fact.value),
        BigInt(low)
      )
      yield* session.call(progLoad(1, address("no_such_symbol", true)))
      assert.strictEqual((yield* session.call(testRun(1))).retval, 0)
      const missing = yield* kernelError(session.call(progLoad(2, address("no_such_symbol", false))))
      assert.strictEqual(missing.errno, "ESRCH")
      assert.match(missing.hint ?? "", /no_such_symbol is not in the running kernel; declare it __weak/)
    })))

  it.live("name kernel functions that are missing", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const call = Encode.program(Encode.callHelper(0), Encode.exit())
      const strong = yield* kernelError(session.call(progLoad(0, withSymbols(call, { 0: symbol("bpf_no_such") }))))
      assert.strictEqual(strong.errno, "ESRCH")
      const weak = yield* verifierError(
        session.call(progLoad(0, withSymbols(call, { 0: symbol("bpf_no_such", { weak: true }) })))
      )
      assert.match(weak.summary, /^kfunc 'bpf_no_such' is referenced but wasn't resolved/)
      const module = yield* kernelError(
        session.call(
          progLoad(0, withSymbols(call, { 0: symbol("f", { resolved: { owner: "no_such_module", id: 1 } }) }))
        )
      )
      const expected = Rights.identifiers() ? /module no_such_module is not loaded/ : /identifiers, which needs root/
      assert.match(module.hint ?? "", expected)
    })))

  it.live("find their target by name, or by the id that a stage has found", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const attr = { type: ProgType.BPF_PROG_TYPE_TRACING, expectedAttachType: AttachType.BPF_TRACE_RAW_TP }
      const target = symbol("btf_trace_task_newtask", { kind: "Typedef" })
      yield* session.call(progLoad(0, returning(0), attr, { attachTo: target }))
      const kernel = yield* KernelLive.make
      const { vmlinuxTypes } = yield* kernel.ask([{ _tag: "VmlinuxTypes" }])
      if (vmlinuxTypes?._tag !== "Known") return assert.fail("vmlinux has no types")
      const id = Btf.findOne(vmlinuxTypes.value, target.name, Btf.BTF_KIND_TYPEDEF)
      assert.isDefined(id)
      if (id === undefined) return
      yield* session.call(
        progLoad(1, returning(0), attr, {
          attachTo: { ...target, name: "not looked at", resolved: { owner: "vmlinux", id } }
        })
      )
      const missing = yield* kernelError(
        session.call(progLoad(2, returning(0), attr, { attachTo: { ...target, name: "btf_trace_no_such" } }))
      )
      assert.match(missing.hint ?? "", /the kernel has no type btf_trace_no_such to attach to/)
      const wrong = yield* verifierError(
        session.call(
          progLoad(2, returning(0), attr, { attachTo: { ...target, resolved: { owner: "vmlinux", id: 1 } } })
        )
      )
      assert.strictEqual(wrong.errno, "EINVAL")
    })))

  it.live("tell about themselves: maps, types, function records", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call({ _tag: "BtfLoad", as: Ref.btf(0), bytes: objectBtf() })
      yield* session.call(mapCreate(0, { valueSize: 4 }, { types: { btf: Ref.btf(0), key: 1, value: 1 } }))
      yield* session.call(mapCreate(1))
      const insns = Encode.program(Encode.ldImm64(1, 0n), Encode.mov64Imm(0, 0), Encode.exit())
      const call = progLoad(0, { insns, refs: [{ _tag: "MapRef", at: 0, map: Ref.map(0) }] }, { name: "with-info" }, {
        btf: Ref.btf(0),
        funcInfo: { recordSize: 8, records: records(0, 4) }
      })
      yield* session.call(call)
      const map = yield* session.call({ _tag: "MapGetInfo", map: Ref.map(0) })
      assert.deepStrictEqual([map.btfKeyTypeId, map.btfValueTypeId], [1, 1])
      assert.isAbove(map.btfId, 0)
      const other = yield* session.call({ _tag: "MapGetInfo", map: Ref.map(1) })
      const before = yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(0) })
      assert.deepStrictEqual(before.mapIds, [map.id])
      yield* session.call({ _tag: "ProgBindMap", prog: Ref.prog(0), map: Ref.map(1) })
      const info = yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(0) })
      assert.deepStrictEqual(new Set(info.mapIds), new Set([map.id, other.id]))
      assert.strictEqual(info.name, "with_info")
      assert.match(info.tag, /^[0-9a-f]{16}$/)
      assert.strictEqual(info.type, ProgType.BPF_PROG_TYPE_SOCKET_FILTER)
      assert.isTrue(info.gplCompatible)
      assert.strictEqual(info.btfId, map.btfId)
      assert.deepStrictEqual(info.funcInfo, { recordSize: 8, records: records(0, 4) })
      assert.strictEqual(info.lineInfo.records.length, 0)
      assert.isAbove(info.xlatedLength, 0)
      assert.strictEqual(info.verifiedInstructions, 3)
    })))

  it.live("have CO-RE records applied by the kernel", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call({ _tag: "BtfLoad", as: Ref.btf(0), bytes: objectBtf() })
      // `return __builtin_preserve_field_info(task->pid, BYTE_OFFSET)`
      const accessOffset = "\0int\0task_struct\0pid\0f\0".length
      const call = progLoad(
        0,
        {
          ...returning(0),
          coreRelocations: { recordSize: 16, records: records(0, 2, accessOffset, 0) }
        },
        {},
        { btf: Ref.btf(0), funcInfo: { recordSize: 8, records: records(0, 4) } }
      )
      yield* session.call(call)
      const { retval } = yield* session.call(testRun(0))
      const kernel = yield* KernelLive.make
      const { vmlinuxTypes } = yield* kernel.ask([{ _tag: "VmlinuxTypes" }])
      if (vmlinuxTypes?._tag !== "Known") return assert.fail("vmlinux has no types")
      const types = vmlinuxTypes.value
      const type = Btf.typeOf(types, Btf.findOne(types, "task_struct", Btf.BTF_KIND_STRUCT) ?? 0)
      const pid = type?._tag === "Struct" ? type.members.find(({ name }) => name === "pid") : undefined
      assert.isDefined(pid)
      assert.strictEqual(retval, (pid?.bitOffset ?? 0) / 8)
      const withoutInfo = { ...call, as: Ref.prog(1), funcInfo: { recordSize: 8, records: new Uint8Array(0) } }
      const error = yield* kernelError(session.call(withoutInfo))
      assert.match(error.hint ?? "", /only to programs with BTF and function/)
    })))

  it.live("are verified beside each other, and all are registered", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const loads = Array.from({ length: 20 }, (_, at) => session.call(progLoad(at, returning(at))))
      yield* Effect.all(loads, { concurrency: "unbounded" })
      const values = yield* Effect.forEach(Array.from({ length: 20 }, (_, at) => at), (at) => session.call(testRun(at)))
      assert.deepStrictEqual(values.map(({ retval }) => retval), Array.from({ length: 20 }, (_, at) => at))
    })))

  it.live("keep their rodata when it is mapped, frozen and bound", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const flags = MapFlag.BPF_F_MMAPABLE | MapFlag.BPF_F_RDONLY_PROG
      yield* session.call(mapCreate(0, { type: MapType.BPF_MAP_TYPE_ARRAY, maxEntries: 1, flags }))
      yield* session.call({
        _tag: "MapUpdate",
        map: Ref.map(0),
        key: new Uint8Array(4),
        value: { bytes: Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), refs: [] },
        flags: 0n
      })
      yield* session.call({ _tag: "MapFreeze", map: Ref.map(0) })
      const insns = Encode.program(Encode.ldImm64(1, 0n), Encode.ldx(0x10, 0, 1, 0), Encode.exit())
      yield* session.call(progLoad(0, { insns, refs: [{ _tag: "MapValueRef", at: 0, map: Ref.map(0), offset: 5 }] }))
      assert.strictEqual((yield* session.call(testRun(0))).retval, 6)
    })))
})

describeWith({ kind: "live" }, "BTF of the live kernel", () => {
  it.live("is loaded, or refused with the kernel's own words", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const before = openDescriptors().length
      yield* session.call({ _tag: "BtfLoad", as: Ref.btf(0), bytes: objectBtf() })
      const damaged = objectBtf()
      damaged.set([99], 24 + 8 * 4 + 12)
      const error = yield* kernelError(session.call({ _tag: "BtfLoad", as: Ref.btf(1), bytes: damaged }))
      assert.strictEqual(error.errno, "EINVAL")
      assert.match(error.log ?? "", /magic: 0xeb9f/)
      const empty = yield* kernelError(session.call({ _tag: "BtfLoad", as: Ref.btf(1), bytes: new Uint8Array(0) }))
      assert.strictEqual(empty.call, "BtfLoad")
      assert.strictEqual(openDescriptors().length, before + 1)
    })))
})
