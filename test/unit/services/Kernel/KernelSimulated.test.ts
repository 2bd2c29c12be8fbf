import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Result from "effect/Result"
import * as Scope from "effect/Scope"
import * as Btf from "../../../../src/btf/Btf.ts"
import * as RingBuffer from "../../../../src/events/RingBuffer.ts"
import * as Encode from "../../../../src/insn/Encode.ts"
import { MapFlag, MapType, ProgType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import { Kernel, type Session } from "../../../../src/services/Kernel/Kernel.ts"
import type { KernelSymbol } from "../../../../src/services/Kernel/KernelCall.ts"
import type { CallError, KernelError } from "../../../../src/services/Kernel/KernelError.ts"
import * as KernelSimulated from "../../../../src/services/Kernel/KernelSimulated.ts"
import * as Ref from "../../../../src/services/Kernel/Ref.ts"
import * as Simulated from "../../../../src/services/Kernel/simulated/Context.ts"
import { contextBytes } from "../../../../src/services/Kernel/simulated/ContextAccess.ts"
import { progTag } from "../../../../src/services/Kernel/simulated/Tag.ts"
import * as Testing from "../../../../src/testing/Testing.ts"
import { code, mapCreate, progLoad, returning, testRun, u32, u64 } from "../../../support/LiveKernel.ts"
import { fixture } from "../../../support/Require.ts"

const inSession = <A, E>(
  body: (session: Session, simulated: KernelSimulated.Simulated) => Effect.Effect<A, E, Scope.Scope>,
  options?: KernelSimulated.SimulatedOptions
): Effect.Effect<A, E | KernelError> =>
  Effect.scoped(
    Effect.flatMap(KernelSimulated.make(options), (simulated) =>
      Effect.flatMap(simulated.kernel.session(), (session) => body(session, simulated)))
  )

/** What a call fails with: the errno of the kernel's answers, the tag of all others. */
const failure = <A>(effect: Effect.Effect<A, CallError>): Effect.Effect<string, A> =>
  Effect.map(Effect.flip(effect), (error) => error._tag === "KernelError" ? error.errno : error._tag)

const kfunc = (name: string, more: Partial<KernelSymbol> = {}): KernelSymbol => ({
  name,
  kind: "Func",
  weak: false,
  ...more
})

const update = (
  map: number,
  key: Uint8Array,
  bytes: Uint8Array,
  flags = 0n
) => ({ _tag: "MapUpdate", map: Ref.map(map), key, value: { bytes, refs: [] }, flags } as const)

const W = 0x00
const DW = 0x18

describe("maps of the simulated kernel", () => {
  it.effect("keep what they are given, and refuse as the live kernel does", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(mapCreate(0))
      const read = (key: number) =>
        session.call({ _tag: "MapLookup", map: Ref.map(0), key: u32(key), valueSize: 8, flags: 0n })
      yield* session.call(update(0, u32(1), u64(7n)))
      assert.deepStrictEqual(yield* read(1), u64(7n))
      assert.isUndefined(yield* read(2))
      assert.strictEqual(yield* failure(session.call(update(0, u32(1), u64(7n), 1n))), "EEXIST")
      assert.strictEqual(yield* failure(session.call(update(0, u64(1n), u64(7n)))), "EINVAL")
      assert.strictEqual(yield* failure(session.call({ _tag: "MapDelete", map: Ref.map(0), key: u32(9) })), "ENOENT")
      assert.strictEqual(yield* failure(session.call(mapCreate(1, { maxEntries: 0 }))), "EINVAL")
      const info = yield* session.call({ _tag: "MapGetInfo", map: Ref.map(0) })
      assert.deepInclude(info, { id: 1, name: "m0", keySize: 4, valueSize: 8, maxEntries: 4 })
    })))

  it.effect("can be mapped, and are then what programs and calls see", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const type = MapType.BPF_MAP_TYPE_ARRAY
      yield* session.call(mapCreate(0, { type, flags: MapFlag.BPF_F_MMAPABLE, maxEntries: 2 }))
      const as = Ref.view(0)
      const mmap = { _tag: "MapMmap", map: Ref.map(0), as, offset: 0, length: 4096, writable: true } as const
      const view = yield* session.call(mmap)
      view.storeRelease64(8, 99n)
      assert.deepStrictEqual(
        yield* session.call({ _tag: "MapLookup", map: Ref.map(0), key: u32(1), valueSize: 8, flags: 0n }),
        u64(99n)
      )
      assert.strictEqual(yield* failure(session.call({ _tag: "MapFreeze", map: Ref.map(0) })), "EBUSY")
      yield* session.call({ _tag: "Close", ref: as })
      yield* session.call({ _tag: "MapFreeze", map: Ref.map(0) })
      assert.strictEqual(yield* failure(session.call({ ...mmap, as: Ref.view(1) })), "EPERM")
    })))
})

describe("programs of the simulated kernel", () => {
  it.effect("run, and tell what they are", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const { insns } = returning(5)
      yield* session.call(progLoad(0, { insns, refs: [] }))
      const run = yield* session.call(testRun(0, { repeat: 1000 }))
      assert.strictEqual(run.retval, 5)
      const info = yield* session.call({ _tag: "ProgGetInfo", prog: Ref.prog(0) })
      // As Linux 6.18 computes it, for `mov r0, 5; exit`.
      assert.deepInclude(info, { id: 1, name: "p0", tag: "c1abe8d4fceb5316", xlatedLength: 16, gplCompatible: true })
    })))

  it.effect("that no machine can run are refused when they are loaded", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const refused = (index: number, insns: Uint8Array) =>
        Effect.map(Effect.flip(session.call(progLoad(index, { insns, refs: [] }))), (error) => error)
      const register = yield* refused(0, Encode.program(Encode.raw(0xbf, 12, 0, 0, 0), Encode.exit()))
      assert.strictEqual(register._tag, "VerifierError")
      assert.match(register.message, /r12/)
      assert.match((yield* refused(1, Encode.program(Encode.ja(50), Encode.exit()))).message, /slot 51/)
      assert.match((yield* refused(2, Encode.program(Encode.callHelper(9999), Encode.exit()))).message, /unknown#9999/)
      assert.strictEqual(yield* failure(session.call(progLoad(3, { insns: new Uint8Array(7), refs: [] }))), "EINVAL")
      assert.strictEqual(yield* failure(session.call(progLoad(4, returning(0), { type: 99 }))), "EINVAL")
    })))

  it.effect("that read what is not theirs end with program, instruction and line", () =>
    Effect.gen(function*() {
      const object = yield* Testing.load(fixture("test_run.bpf.o"))
      const short = yield* Effect.flip(object.run("sum_arguments", { context: [1n] }))
      assert.match(short.message, /EINVAL/)

      const { session } = object.loaded
      const load = progLoad(40, code(Encode.mov64Imm(2, 64), Encode.ldx(DW, 0, 2, 0), Encode.exit()))
      yield* session.call(load)
      const fault = yield* Effect.flip(session.call(testRun(40)))
      assert.deepInclude(fault, { _tag: "ProgramFault", program: "p40", reason: "NotMapped", instruction: 1 })
    }).pipe(Effect.provide(Testing.simulated())))

  it.effect("that end with a fault leave no record behind that blocks a ring buffer", () =>
    inSession(Effect.fnUntraced(function*(session, { kernel }) {
      const type = MapType.BPF_MAP_TYPE_RINGBUF
      yield* session.call(mapCreate(0, { type, keySize: 0, valueSize: 0, maxEntries: 4096 }))
      const refs = [{ _tag: "MapRef", at: 0, map: Ref.map(0) }] as const
      const faulty = Encode.program(
        Encode.ldMapFd(1, 0),
        Encode.mov64Imm(2, 8),
        Encode.mov64Imm(3, 0),
        Encode.callHelper(131), // bpf_ringbuf_reserve
        Encode.mov64Imm(1, 64),
        Encode.ldx(DW, 0, 1, 0),
        Encode.exit()
      )
      const sound = Encode.program(
        Encode.ldMapFd(1, 0),
        Encode.st(DW, 10, -8, 7),
        Encode.mov64Reg(2, 10),
        Encode.alu64Imm(0, 2, -8),
        Encode.mov64Imm(3, 8),
        Encode.mov64Imm(4, 0),
        Encode.callHelper(130), // bpf_ringbuf_output
        Encode.exit()
      )
      yield* session.call(progLoad(0, { insns: faulty, refs }))
      yield* session.call(progLoad(1, { insns: sound, refs }))
      assert.strictEqual((yield* Effect.flip(session.call(testRun(0))))._tag, "ProgramFault")
      yield* session.call(testRun(1))
      const ring = yield* Effect.provideService(RingBuffer.open(session, Ref.map(0)), Kernel, kernel)
      assert.deepStrictEqual(Result.getOrThrow(RingBuffer.drain(ring)), [u64(7n)])
    })))

  it.effect("that do not end, end with the budget", () =>
    inSession(
      Effect.fnUntraced(function*(session) {
        yield* session.call(progLoad(0, code(Encode.mov64Imm(0, 0), Encode.ja(-1), Encode.exit())))
        const fault = yield* Effect.flip(session.call(testRun(0)))
        assert.deepInclude(fault, { _tag: "ProgramFault", reason: "Budget" })
        assert.match(fault.message, /5000 instructions/)
      }),
      { budget: 5000 }
    ))

  it.effect("name the helper or kernel function that nothing implements: in the log, and when they call it", () =>
    inSession(
      Effect.fnUntraced(function*(session) {
        const overrideReturn = 58
        const loaded = yield* session.call({
          ...progLoad(0, code(Encode.callHelper(overrideReturn), Encode.exit())),
          log: { level: 1 }
        })
        assert.include(loaded.log, "bpf_override_return")
        const fault = yield* Effect.flip(session.call(testRun(0)))
        assert.deepInclude(fault, { _tag: "ProgramFault", reason: "UnknownHelper" })
        assert.include(fault.message, "bpf_override_return")

        const calling = (symbol: KernelSymbol) => ({
          insns: Encode.program(Encode.callHelper(0), Encode.exit()),
          refs: [{ _tag: "SymbolRef", at: 0, symbol } as const]
        })
        const missing = yield* Effect.flip(session.call(progLoad(1, calling(kfunc("bpf_nothing")))))
        assert.match(missing.message, /ESRCH[^]*has no bpf_nothing[^]*kfuncs/)
        yield* session.call(progLoad(2, calling(kfunc("bpf_nothing", { weak: true }))))
        assert.strictEqual(yield* failure(session.call(testRun(2))), "ProgramFault")
        yield* session.call(progLoad(3, calling(kfunc("bpf_mine"))))
        assert.strictEqual((yield* session.call(testRun(3))).retval, 42)
      }),
      { kfuncs: { bpf_mine: () => 42 } }
    ))

  it.effect("call what a test puts in a helper's place, with typed arguments", () => {
    const seen: Array<ReadonlyArray<bigint>> = []
    return inSession(
      Effect.fnUntraced(function*(session) {
        const ktime = 5
        yield* session.call(
          progLoad(0, code(Encode.mov64Imm(1, -1), Encode.mov64Imm(2, -1), Encode.callHelper(ktime), Encode.exit()))
        )
        assert.strictEqual((yield* session.call(testRun(0))).retval, 77)
        assert.deepStrictEqual(seen, [[0xffn, -1n]])
      }),
      {
        helpers: {
          bpf_ktime_get_ns: {
            params: ["u8", "s32"],
            call: (args: ReadonlyArray<bigint>) => {
              seen.push(args)
              return 77n
            }
          }
        }
      }
    )
  })

  it.effect("have the variables and addresses that the options say", () =>
    inSession(
      Effect.fnUntraced(function*(session) {
        const reading = (kind: "Var" | "Address", name: string) => ({
          insns: Encode.program(
            Encode.ldImm64(1, 0n),
            ...(kind === "Var" ? [Encode.ldx(W, 0, 1, 0)] : [Encode.mov64Reg(0, 1)]),
            Encode.exit()
          ),
          refs: [{ _tag: "SymbolRef", at: 0, symbol: { name, kind, weak: false } } as const]
        })
        yield* session.call(progLoad(0, reading("Var", "nr_things")))
        assert.strictEqual((yield* session.call(testRun(0))).retval, 9)
        yield* session.call(progLoad(1, reading("Address", "init_task")))
        assert.strictEqual((yield* session.call(testRun(1))).retval, 0x1234)
        assert.strictEqual(yield* failure(session.call(progLoad(2, reading("Var", "unknown")))), "ESRCH")
      }),
      { variables: { nr_things: u32(9) }, symbols: { init_task: 0xffff_ffff_0000_1234n } }
    ))

  it.effect("of kinds that only the kernel runs are loaded, and not run", () =>
    inSession(Effect.fnUntraced(function*(session) {
      yield* session.call(progLoad(0, returning(0), { type: ProgType.BPF_PROG_TYPE_SK_LOOKUP }))
      assert.strictEqual(yield* failure(session.call(testRun(0))), "UnsupportedCall")
      yield* session.call(progLoad(1, returning(0), { type: ProgType.BPF_PROG_TYPE_KPROBE }))
      assert.strictEqual(yield* failure(session.call(testRun(1))), "ENOTSUPP")
    })))

  it.effect("have their CO-RE records applied where the kernel's types are known, and run as compiled where not", () =>
    Effect.gen(function*() {
      const insns = code(Encode.ldx(W, 0, 1, 0), Encode.exit())
      // BTF of `struct args { int first, second; }`: 1 int, 2 the struct, 3 and 4 `int f(void)`.
      const btf = (members: ReadonlyArray<readonly [name: string, bits: number]>): Uint8Array => {
        const strings = ["", "int", "args", "first", "second", "f", "0:0", ""].join("\0")
        const at = (text: string) => strings.indexOf(`\0${text}\0`) + 1
        const types = [
          [at("int"), 0x0100_0000, 4, 0x0100_0020],
          [at("args"), 0x0400_0000 + members.length, 8, ...members.flatMap(([name, bits]) => [at(name), 1, bits])],
          [0, 0x0d00_0000, 1],
          [at("f"), 0x0c00_0000, 3]
        ].flat()
        const header = [0x0001_eb9f, 24, 0, types.length * 4, types.length * 4, strings.length]
        const words = new Uint8Array(Uint32Array.from([...header, ...types]).buffer)
        return Uint8Array.from([...words, ...new TextEncoder().encode(strings)])
      }
      const own = btf([["first", 0], ["second", 32]])
      const accessString = ["", "int", "args", "first", "second", "f"].join("\0").length + 1
      const records = (...words: ReadonlyArray<number>) => new Uint8Array(Uint32Array.from(words).buffer)
      const readFirst = (session: Session) =>
        Effect.gen(function*() {
          yield* session.call({ _tag: "BtfLoad", as: Ref.btf(0), bytes: own })
          // The load at slot 0 is of the first member: the byte offset of `0:0` in type 2.
          const coreRelocations = { recordSize: 16, records: records(0, 2, accessString, 0) }
          const funcInfo = { recordSize: 8, records: records(0, 4) }
          const attr = { type: ProgType.BPF_PROG_TYPE_SYSCALL, flags: 0x10 }
          yield* session.call(progLoad(0, { ...insns, coreRelocations }, attr, { btf: Ref.btf(0), funcInfo }))
          const { dataIn: _, ...run } = testRun(0, { contextIn: Uint8Array.from([...u32(1), ...u32(2)]), repeat: 0 })
          return (yield* session.call(run)).retval
        })
      assert.strictEqual(yield* inSession(readFirst), 1)
      const other = Result.getOrThrow(Btf.parse(btf([["second", 0], ["first", 32]])))
      assert.strictEqual(yield* inSession(readFirst, { types: other }), 2)
      // A kernel without the member: the access is poisoned, and a run of it ends with an error.
      const without = Result.getOrThrow(Btf.parse(btf([["second", 0]])))
      const missing = yield* Effect.flip(inSession(readFirst, { types: without }))
      assert.deepInclude(missing, { _tag: "ProgramFault", reason: "Missing", instruction: 0 })
      assert.match(missing.message, /a field, type or enumerator that this kernel does not have/)
    }))
})

describe("the simulated kernel", () => {
  it.effect("is the same at every run", () => {
    const story = Effect.gen(function*() {
      const object = yield* Testing.load(fixture("events.bpf.o"))
      const { session } = object.loaded
      const random = 7
      const ktime = 5
      const values: Array<number> = []
      for (const [index, helper] of [random, ktime, random, ktime].entries()) {
        yield* session.call(progLoad(50 + index, code(Encode.callHelper(helper), Encode.exit())))
        values.push((yield* session.call(testRun(50 + index))).retval)
      }
      return values
    })
    return Effect.gen(function*() {
      const first = yield* story.pipe(Effect.scoped, Effect.provide(Testing.simulated()))
      const second = yield* story.pipe(Effect.scoped, Effect.provide(Testing.simulated()))
      const other = yield* story.pipe(Effect.scoped, Effect.provide(Testing.simulated({ seed: 2 })))
      assert.deepStrictEqual(second, first)
      assert.notStrictEqual(other[0], first[0])
      assert.strictEqual(new Set(first).size, 4)
    })
  })

  it.effect("shares pins between the sessions of a layer, and takes back those that were not committed", () =>
    Effect.gen(function*() {
      const { kernel } = yield* KernelSimulated.make()
      const path = "/sys/fs/bpf/folder/counts"
      const first = yield* Scope.make()
      const session = yield* Scope.provide(kernel.session(), first)
      yield* session.call(mapCreate(0))
      yield* session.call(update(0, u32(1), u64(1n)))
      yield* session.call({ _tag: "ObjPin", object: Ref.map(0), path })
      assert.strictEqual(yield* failure(session.call({ _tag: "ObjPin", object: Ref.map(0), path })), "EEXIST")
      const dotted = { _tag: "ObjPin", object: Ref.map(0), path: "/sys/fs/bpf/a.b" } as const
      assert.strictEqual(yield* failure(session.call(dotted)), "EPERM")
      assert.strictEqual(yield* failure(session.call({ ...dotted, path: "/tmp/x" })), "EINVAL")
      yield* session.commit
      yield* session.call({ _tag: "ObjPin", object: Ref.map(0), path: "/sys/fs/bpf/uncommitted" })
      yield* Scope.close(first, Exit.void)

      const later = yield* kernel.session()
      yield* later.call({ _tag: "ObjGet", as: Ref.map(3), path })
      assert.deepStrictEqual(
        yield* later.call({ _tag: "MapLookup", map: Ref.map(3), key: u32(1), valueSize: 8, flags: 0n }),
        u64(1n)
      )
      assert.strictEqual(
        yield* failure(later.call({ _tag: "ObjGet", as: Ref.map(4), path: "/sys/fs/bpf/uncommitted" })),
        "ENOENT"
      )
      assert.strictEqual(yield* failure(later.call({ _tag: "ObjGet", as: Ref.prog(4), path })), "RefError")
      assert.strictEqual(yield* failure(later.call({ _tag: "ObjUnpin", path: "/sys/fs/bpf/folder" })), "EISDIR")
      yield* later.call({ _tag: "ObjUnpin", path })
      assert.strictEqual(yield* failure(later.call({ _tag: "ObjUnpin", path })), "ENOENT")
      assert.strictEqual(yield* failure(later.adopt({ _tag: "Descriptor", kind: "Map", fd: 3 })), "UnsupportedCall")
    }))

  it.effect("knows all that can be asked, but types that it was not given", () =>
    Effect.gen(function*() {
      const { kernel } = yield* KernelSimulated.make({
        kconfig: { CONFIG_HZ: "250" },
        release: "6.6.30",
        possibleCpus: 4
      })
      const answers = yield* kernel.ask([
        { _tag: "Kconfig", key: "CONFIG_HZ" },
        { _tag: "Kconfig", key: "constructor" },
        { _tag: "KernelVersion" },
        { _tag: "PossibleCpus" },
        { _tag: "Feature", feature: "BpfCookie" }
      ])
      assert.deepStrictEqual(answers.kconfig?.get("CONFIG_HZ"), { _tag: "Known", value: "250" })
      assert.deepStrictEqual(answers.kconfig?.get("constructor"), { _tag: "Known", value: undefined })
      assert.deepStrictEqual(answers.kernelVersion, { _tag: "Known", value: (6 << 16) + (6 << 8) + 30 })
      assert.deepStrictEqual(answers.possibleCpus, { _tag: "Known", value: 4 })
      assert.deepStrictEqual((yield* kernel.ask([{ _tag: "VmlinuxTypes" }])).vmlinuxTypes, { _tag: "Deferred" })
      for (
        const options of [{ possibleCpus: 0 }, { pageSize: 5000 }, { cpu: 1 }, { budget: 0 }, {
          helpers: { nothing: () => 0 }
        }]
      ) {
        const refused = yield* Effect.flip(KernelSimulated.make(options))
        assert.strictEqual(refused.errno, "EINVAL")
      }
    }))

  it.effect("tells what programs printed and where they redirected", () =>
    inSession(Effect.fnUntraced(function*(session, { simulation }) {
      const [redirect, printk] = [23, 6]
      const text = 0x0a21_6948n // "Hi!\n"
      yield* session.call(progLoad(
        0,
        code(
          Encode.ldImm64(1, text),
          Encode.stx(DW, 10, 1, -8),
          Encode.mov64Reg(1, 10),
          Encode.alu64Imm(0x00, 1, -8),
          Encode.mov64Imm(2, 5),
          Encode.callHelper(printk),
          Encode.mov64Imm(1, 3),
          Encode.mov64Imm(2, 0),
          Encode.callHelper(redirect),
          Encode.exit()
        ),
        { type: ProgType.BPF_PROG_TYPE_XDP }
      ))
      assert.strictEqual((yield* session.call(testRun(0))).retval, 4)
      assert.match((yield* simulation.printk).join("|"), /Hi!/)
      assert.deepStrictEqual(yield* simulation.printk, [])
      assert.deepInclude((yield* simulation.redirects)[0], { helper: "bpf_redirect", target: 3 })
    })))

  it("gives everything back when sessions end: cycles of program arrays, inner maps and pins included", async () => {
    const context = Result.getOrThrow(Simulated.make({}))
    const { kernel } = KernelSimulated.fromContext(context)
    const inUse = () => context.memory.next - context.memory.free.length
    const before = inUse()
    for (
      const name of [
        "prog_array.bpf.o",
        "map_in_map.bpf.o",
        "map_in_map_late.bpf.o",
        "events.bpf.o",
        "global_data.bpf.o"
      ]
    ) {
      await Effect.runPromise(Testing.load(fixture(name)).pipe(Effect.scoped, Effect.provideService(Kernel, kernel)))
      assert.strictEqual(inUse(), before, name)
    }
    const pinned = await Effect.runPromise(
      Testing.load(fixture("pinned_map.bpf.o")).pipe(
        Effect.map(() => inUse()),
        Effect.scoped,
        Effect.provideService(Kernel, kernel)
      )
    )
    // What is pinned stays: the map itself.
    assert.isAbove(pinned, inUse())
    assert.strictEqual(inUse(), before + context.pins.size)
    assert.strictEqual(context.environment.maps.size, context.pins.size)
    assert.strictEqual(context.pins.size, 1)
  })
})

describe("what a program accesses of its context", () => {
  it("is found through registers, stack slots, branches and calls", () => {
    assert.strictEqual(contextBytes(Encode.program(Encode.ldx(W, 0, 1, 8), Encode.exit())), 12)
    assert.strictEqual(contextBytes(Encode.program(Encode.mov64Imm(1, 0), Encode.ldx(W, 0, 1, 8), Encode.exit())), 0)
    assert.strictEqual(
      contextBytes(Encode.program(
        Encode.stx(DW, 10, 1, -16),
        Encode.callHelper(5),
        Encode.ldx(DW, 6, 10, -16),
        Encode.jmpImm(0x10, 0, 0, 1),
        Encode.ldx(DW, 2, 6, 24),
        Encode.ldx(W, 0, 6, 0),
        Encode.exit()
      )),
      32
    )
    // Never reached: after the exit.
    assert.strictEqual(contextBytes(Encode.program(Encode.exit(), Encode.ldx(W, 0, 1, 80), Encode.exit())), 0)
  })
})

describe("tags", () => {
  it("are those of SHA-256", () => {
    assert.strictEqual(progTag(new TextEncoder().encode("abc")), "ba7816bf8f01cfea")
    assert.strictEqual(progTag(new Uint8Array(0)), "e3b0c44298fc1c14")
    assert.strictEqual(progTag(new TextEncoder().encode("a".repeat(1_000_000))), "cdc76e5c9914fb92")
  })
})
