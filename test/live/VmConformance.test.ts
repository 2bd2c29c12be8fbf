/**
 * The virtual machine beside the running kernel: the same instructions on the same operands leave the same memory.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Encode from "../../src/insn/Encode.ts"
import * as C from "../../src/insn/InsnConstants.ts"
import { MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { Session } from "../../src/services/Kernel/Kernel.ts"
import type { CodeRef, ProgLoad } from "../../src/services/Kernel/KernelCall.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Vm from "../../src/vm/Vm.ts"
import { inSession, mapCreate, progLoad, testRun, u32 } from "../support/LiveKernel.ts"
import { describeWith } from "../support/Require.ts"
import { allBlocks, type Block, blockAt, edges, memoryOf, memorySize, programOf } from "../unit/vm/blocks.ts"

/** Offsets in a load or store have 16 bits, so this many blocks share a program. */
const BATCH = 1200

const batches: ReadonlyArray<ReadonlyArray<Block>> = Array.from(
  { length: Math.ceil(allBlocks.length / BATCH) },
  (_, batch) => allBlocks.slice(batch * BATCH, (batch + 1) * BATCH)
)

/** A machine with the blocks' program, and the memory that it works on. */
const machineOf = (insns: Uint8Array, size: number) => {
  const bytes = new Uint8Array(size)
  const machine = Vm.make()
  assert.isDefined(machine)
  const region = Vm.Memory.add(machine.memory, { name: "value of map m", bytes })
  assert.isDefined(region)
  const program = Result.getOrThrow(Vm.decode(insns, { resolve: () => Vm.Memory.address(region) }))
  return {
    run: (memory: Uint8Array): Uint8Array => {
      bytes.set(memory)
      Vm.start(machine, program)
      assert.deepStrictEqual(Vm.complete(machine, 1_000_000), Result.succeed(0n))
      return Uint8Array.from(bytes)
    }
  }
}

/** What a program is made of for the machine; the fault of a judge that must see differences is put here. */
const conform = Effect.fnUntraced(function*(
  session: Session,
  blocks: ReadonlyArray<Block>,
  operands: ReadonlyArray<readonly [bigint, bigint, bigint]>,
  change: (insns: Uint8Array) => Uint8Array = (insns) => insns
) {
  const size = memorySize(blocks.length)
  yield* session.call(mapCreate(0, { type: MapType.BPF_MAP_TYPE_ARRAY, valueSize: size, maxEntries: 1 }))
  const insns = programOf(blocks, Encode.ldMapValue(6, 0, 0))
  yield* session.call(
    progLoad(0, { insns, refs: [{ _tag: "MapValueRef", at: 0, map: Ref.map(0), offset: 0 }] })
  )
  const machine = machineOf(change(insns), size)
  const differences: Array<string> = []
  for (const [a, b, c] of operands) {
    const before = memoryOf(blocks.length, a, b, c)
    yield* session.call({
      _tag: "MapUpdate",
      map: Ref.map(0),
      key: u32(0),
      value: { bytes: before, refs: [] },
      flags: 0n
    })
    yield* session.call(testRun(0))
    const live = yield* session.call({
      _tag: "MapLookup",
      map: Ref.map(0),
      key: u32(0),
      valueSize: size,
      flags: 0n
    })
    assert.isDefined(live)
    const ours = machine.run(before)
    for (let at = 0; at < size; at++) {
      if (live[at] !== ours[at]) {
        differences.push(`${blockAt(blocks, at)} of A=${a} B=${b} C=${c}: byte ${at} is ${live[at]}, ours ${ours[at]}`)
        at = Math.floor((at - 64) / 24) * 24 + 64 + 23
      }
    }
  }
  return differences
})

const DW = C.BPF_DW

/** What is run beside the kernel. */
interface Beside {
  /** Its 64-bit immediate loads of map 0's value and of map 1 are resolved. */
  readonly code: ReadonlyArray<Uint8Array>
  /** The value of map 0; default: a few zeros. */
  readonly memory?: Uint8Array
  readonly data?: Uint8Array
  readonly host?: Vm.Host
  readonly more?: Partial<ProgLoad>
  /** Runs between loading and running. */
  readonly loaded?: (prog: Ref.ProgRef, decoded: Vm.Program) => Effect.Effect<void, unknown>
}

let names = 0

/** What a program returns and leaves in memory, on the kernel and on the machine. */
const beside = Effect.fnUntraced(function*(session: Session, { code, data, host, loaded, memory, more }: Beside) {
  const before = memory ?? new Uint8Array(64)
  // Names of a session are used once; map 0 of the code is a new one each time.
  const name = 100 + names++
  const insns = Encode.program(...code)
  const refs: Array<CodeRef> = []
  for (let at = 0; at < insns.length / 8; at++) {
    if (insns[at * 8] !== 0x18) continue
    const pseudo = (insns[at * 8 + 1] ?? 0) >> 4
    if (pseudo === C.BPF_PSEUDO_MAP_VALUE) refs.push({ _tag: "MapValueRef", at, map: Ref.map(name), offset: 0 })
    if (pseudo === C.BPF_PSEUDO_MAP_FD) refs.push({ _tag: "MapRef", at, map: Ref.map(1) })
  }
  yield* session.call(mapCreate(name, { type: MapType.BPF_MAP_TYPE_ARRAY, valueSize: before.length, maxEntries: 1 }))
  const value = { bytes: before, refs: [] }
  yield* session.call({ _tag: "MapUpdate", map: Ref.map(name), key: u32(0), value, flags: 0n })
  yield* session.call(progLoad(name, { insns, refs }, {}, more))

  const bytes = Uint8Array.from(before)
  const machine = Vm.make({ host: host ?? Vm.noHost })
  assert.isDefined(machine)
  const region = Vm.Memory.add(machine.memory, { name: "value of map 0", bytes })
  assert.isDefined(region)
  const resolve = (reference: Vm.Reference) =>
    reference.kind === "MapValue" ? Vm.Memory.address(region) : 0xdead_0000_0000n
  const program = Result.getOrThrow(Vm.decode(insns, { resolve }))
  if (loaded !== undefined) yield* Effect.orDie(loaded(Ref.prog(name), program))

  const { retval } = yield* session.call(testRun(name, data === undefined ? {} : { dataIn: data }))
  const live = yield* session.call({
    _tag: "MapLookup",
    map: Ref.map(name),
    key: u32(0),
    valueSize: before.length,
    flags: 0n
  })
  assert.isDefined(live)
  Vm.start(machine, program)
  const r0 = Result.getOrThrow(Vm.complete(machine, 1_000_000_000))
  return {
    live: { retval, memory: live },
    ours: { retval: Number(BigInt.asUintN(32, r0)), memory: bytes }
  }
})

/** `bpf_loop`: the shape of every helper that calls back. */
const bpfLoop: Vm.Helper = (machine) => {
  const iterations = Vm.register(machine, 1)
  const [callbackLow = 0, callbackHigh = 0, dataLow = 0, dataHigh = 0] = [
    machine.low[2],
    machine.high[2],
    machine.low[3],
    machine.high[3]
  ]
  // -E2BIG. The verifier puts the loop in the place of the call, and a 32-bit move in that of the error.
  if (iterations > 8_388_608n) return Vm.returnNumber(machine, 0xffff_fff9)
  const count = Number(iterations)
  let index = 0
  const next = (): Vm.Handled => {
    if (index === count) return Vm.returnNumber(machine, count)
    Vm.setNumber(machine, 1, index)
    machine.low[2] = dataLow
    machine.high[2] = dataHigh
    return Vm.enter(machine, callbackLow, callbackHigh, returned)
  }
  const returned: Vm.Continuation = () => {
    index++
    return machine.low[0] !== 0 ? Vm.returnNumber(machine, index) : next()
  }
  return next()
}

/** Number of slots of these instructions. */
const slots = (insns: ReadonlyArray<Uint8Array>): number => insns.reduce((sum, insn) => sum + insn.length / 8, 0)

/** Names the functions that start at these slots to the kernel: the first is main, the others are static. */
const functionsAt = Effect.fnUntraced(function*(session: Session, name: number, starts: ReadonlyArray<number>) {
  yield* session.call({ _tag: "BtfLoad", as: Ref.btf(name), bytes: callbackBtf })
  const records = new Uint8Array(Uint32Array.from(starts.flatMap((start, at) => [start, at === 0 ? 4 : 5])).buffer)
  return { btf: Ref.btf(name), funcInfo: { recordSize: 8, records } }
})

/** 1 int, 2 `int (void *)`, 3 `int (u32, void *)`, 4 main, 5 a static callback; 6 void pointer. */
const callbackBtf: Uint8Array = (() => {
  const strings = "\0int\0main\0callback\0index\0data\0"
  const at = (text: string) => strings.indexOf(`\0${text}\0`) + 1
  const types = [
    [at("int"), 0x0100_0000, 4, 0x0100_0020],
    [0, 0x0d00_0001, 1, at("data"), 6],
    [0, 0x0d00_0002, 1, at("index"), 1, at("data"), 6],
    [at("main"), 0x0c00_0001, 2],
    [at("callback"), 0x0c00_0000, 3],
    [0, 0x0200_0000, 0]
  ].flat()
  const header = [0x0001_eb9f, 24, 0, types.length * 4, types.length * 4, strings.length]
  const words = new Uint8Array(Uint32Array.from([...header, ...types]).buffer)
  return Uint8Array.from([...words, ...new TextEncoder().encode(strings)])
})()

const pairs = edges.flatMap((a) => edges.map((b) => [a, b, a ^ (b << 1n)] as const))

// With the instructions of version 4 of the set, which came in 6.6.
// Loads that acquire and stores that release are the newest of the instructions.
describeWith({ kind: "live", linux: "6.15" }, "the virtual machine beside the kernel", () => {
  it.live("computes every operation on every pair of edge operands as the kernel does", () =>
    Effect.forEach(batches, (blocks) =>
      inSession(Effect.fnUntraced(function*(session) {
        assert.deepStrictEqual((yield* conform(session, blocks, pairs)).slice(0, 20), [])
      }))))

  it.live("computes every operation on random operands as the kernel does", () => {
    const operand = fc.oneof(
      fc.bigInt({ min: 0n, max: 0xffff_ffff_ffff_ffffn }),
      fc.bigInt({ min: -0x1_0000_0000n, max: 0x1_0000_0000n }),
      fc.constantFrom(...edges)
    )
    const seed = Number(process.env["FC_SEED"] ?? 1)
    const operands = fc.sample(fc.tuple(operand, operand, operand), { seed, numRuns: 500 })
    return Effect.forEach(batches, (blocks) =>
      inSession(Effect.fnUntraced(function*(session) {
        const differences = yield* conform(session, blocks, operands)
        assert.deepStrictEqual(differences.slice(0, 20), [], `FC_SEED=${seed}`)
      })))
  })

  it.live("named fault: signed shifts and division taken for unsigned ones, and a 32-bit addition for a 64-bit one, are seen", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const named = (name: string) => allBlocks.filter((block) => block.name === name)
      const blocks = [...named("arsh64 reg"), ...named("sdiv64 reg"), ...named("add64 reg"), ...named("xor64 reg")]
      assert.strictEqual(blocks.length, 4)
      const differences = yield* conform(session, blocks, pairs, (insns) => {
        const changed = Uint8Array.from(insns)
        for (let at = 0; at < changed.length; at += 8) {
          if (changed[at] === 0xcf) changed[at] = 0x7f
          if (changed[at] === 0x3f) changed[at + 2] = 0
          if (changed[at] === 0x0f) changed[at] = 0x0c
        }
        return changed
      })
      const found = new Set(differences.map((difference) => difference.split(" of ")[0]))
      assert.deepStrictEqual([...found].toSorted((a = "", b = "") => a < b ? -1 : 1), [
        "add64 reg",
        "arsh64 reg",
        "sdiv64 reg"
      ])
    })))

  it.live("calls subprograms with frames and registers of their own, eight deep, as the kernel does", () =>
    inSession(Effect.fnUntraced(function*(session) {
      // Each function notes r1 to r5 in its own stack, spoils r6 to r9, calls the next one with a pointer to its stack, and
      // adds up what it finds when that has returned.
      const deep = (level: number): ReadonlyArray<Uint8Array> => [
        Encode.stx(DW, 10, 1, -8),
        Encode.mov64Reg(6, 1),
        Encode.alu64Imm(C.BPF_MUL, 6, 3 + level),
        Encode.mov64Imm(7, level),
        Encode.mov64Reg(9, 2),
        Encode.stx(DW, 10, 6, -16),
        Encode.mov64Reg(1, 6),
        Encode.mov64Reg(2, 10),
        Encode.alu64Imm(C.BPF_ADD, 2, -16),
        ...(level < 7 ? [Encode.callSubprogram(9)] : [Encode.mov64Imm(0, 1000)]),
        // The callee wrote into this frame through r2.
        Encode.ldx(DW, 8, 10, -16),
        Encode.alu64Reg(C.BPF_ADD, 0, 8),
        Encode.alu64Reg(C.BPF_ADD, 0, 6),
        Encode.alu64Reg(C.BPF_ADD, 0, 7),
        Encode.ldx(DW, 8, 10, -8),
        Encode.alu64Reg(C.BPF_XOR, 0, 8),
        ...(level === 0 ? [Encode.mov64Imm(9, 0)] : [Encode.stx(DW, 9, 7, 0)]),
        Encode.mov64Reg(9, 0),
        Encode.exit()
      ]
      const insns = [
        Encode.ldx(DW, 1, 6, 0),
        Encode.mov64Imm(2, 0),
        ...Array.from({ length: 8 }, (_, level) => deep(level)).flat()
      ]
      const code = [Encode.ldMapValue(6, 0, 0), ...insns]
      for (const a of edges) {
        const { live, ours } = yield* beside(session, { code, memory: memoryOf(0, a, 0n, 0n) })
        assert.deepStrictEqual(ours, live)
      }
    })))

  it.live("loads from packets, and returns 0 where there is none, as the kernel does", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const data = Uint8Array.from({ length: 64 }, (_, at) => (at * 37 + 129) & 0xff)
      const packet = data.subarray(14)
      const view = new DataView(packet.buffer, packet.byteOffset, packet.byteLength)
      const host: Vm.Host = {
        ...Vm.noHost,
        packetLoad: (_, offset, size) =>
          offset < 0 || offset + size > packet.length
            ? undefined
            : size === 1
            ? view.getUint8(offset)
            : size === 2
            ? view.getUint16(offset)
            : view.getUint32(offset)
      }
      for (const size of [C.BPF_B, C.BPF_H, C.BPF_W] as const) {
        for (const [base, imm] of [[0, 0], [5, 1], [0, 46], [40, 6], [0, 47], [1, 48], [30, 20], [-1, 3]] as const) {
          const indirect = [
            Encode.mov64Reg(6, 1),
            Encode.mov32Imm(7, base),
            Encode.ldInd(size, 7, imm),
            Encode.alu64Imm(C.BPF_OR, 0, 0x40),
            Encode.exit()
          ]
          const absolute = [
            Encode.mov64Reg(6, 1),
            Encode.ldAbs(size, imm),
            Encode.alu64Imm(C.BPF_OR, 0, 0x40),
            Encode.exit()
          ]
          for (const code of [indirect, absolute]) {
            const { live, ours } = yield* beside(session, { code, data, host })
            assert.deepStrictEqual(ours, live, `size ${size}, offset ${base} + ${imm}`)
          }
        }
      }
    })))

  it.live("tail calls 33 times and no more, and from subprograms back to their callers, as the kernel does", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const programs = { type: MapType.BPF_MAP_TYPE_PROG_ARRAY, valueSize: 4, maxEntries: 4 }
      yield* session.call(mapCreate(1, programs))
      const tailCall = (index: number) => [Encode.ldMapFd(2, 1), Encode.mov64Imm(3, index), Encode.callHelper(12)]
      const count = [
        Encode.ldMapValue(6, 0, 0),
        Encode.ldx(DW, 7, 6, 0),
        Encode.alu64Imm(C.BPF_ADD, 7, 1),
        Encode.stx(DW, 6, 7, 0)
      ]
      const itself = [
        Encode.mov64Reg(8, 1),
        ...count,
        Encode.mov64Reg(1, 8),
        ...tailCall(0),
        Encode.mov64Imm(0, 5),
        Encode.exit()
      ]
      // The subprogram becomes program 1, which returns 7 to the subprogram's caller.
      const seven = [Encode.mov64Imm(6, 99), Encode.mov64Imm(0, 7), Encode.exit()]
      const fromSubprogram = [
        Encode.mov64Imm(6, 3),
        Encode.callSubprogram(2),
        Encode.alu64Reg(C.BPF_ADD, 0, 6),
        Encode.exit(),
        ...tailCall(1),
        Encode.mov64Imm(0, 1),
        Encode.exit()
      ]
      const missing = [...tailCall(3), Encode.mov64Imm(0, 11), Encode.exit()]
      const table: Array<Vm.Program | undefined> = []
      const host: Vm.Host = {
        ...Vm.noHost,
        helpers: Array.from({ length: 13 }, (_, id): Vm.Helper | undefined =>
          id !== 12 ? undefined : (machine) => {
            const program = table[machine.low[3] ?? 0]
            if (program !== undefined && Vm.tailCall(machine, program)) return Vm.ENTERED
            return Vm.returnNumber(machine, -2)
          })
      }
      const memory = memoryOf(0, 0n, 0n, 0n)
      const more = yield* functionsAt(session, 0, [0, 4])
      const load = (at: number, code: ReadonlyArray<Uint8Array>) =>
        beside(session, {
          code,
          memory,
          host,
          ...(code === fromSubprogram ? { more } : {}),
          loaded: (prog, decoded) => {
            table[at] = decoded
            const value = { bytes: u32(0), refs: [{ at: 0, size: 4, to: prog } as const] }
            return session.call({ _tag: "MapUpdate", map: Ref.map(1), key: u32(at), value, flags: 0n })
          }
        })
      for (const [at, code] of [[0, itself], [1, seven], [2, fromSubprogram], [2, missing]] as const) {
        const { live, ours } = yield* load(at, code)
        assert.deepStrictEqual(ours, live)
      }
      assert.strictEqual((yield* load(0, itself)).live.memory[0], 34)
      assert.strictEqual((yield* load(2, fromSubprogram)).live.retval, 10)
    })))

  it.live("calls back what bpf_loop is given, nested and until it says stop, as the kernel does", () =>
    inSession(Effect.fnUntraced(function*(session) {
      // main: loop(A, outer, &memory); outer: loop(B, inner, &memory), stop at index C; inner: memory[24] += index * 3 + 1
      const main = (outer: number) => [
        Encode.ldMapValue(6, 0, 0),
        Encode.ldx(DW, 1, 6, 0),
        Encode.ldFunc(2, outer - 4),
        Encode.mov64Reg(3, 10),
        Encode.alu64Imm(C.BPF_ADD, 3, -8),
        Encode.stx(DW, 3, 6, 0),
        Encode.mov64Imm(4, 0),
        Encode.callHelper(181),
        Encode.stx(DW, 6, 0, 32),
        Encode.mov64Imm(0, 0),
        Encode.exit()
      ]
      const outer = (inner: number) => [
        Encode.mov64Reg(7, 1),
        Encode.ldMapValue(6, 0, 0),
        Encode.ldx(DW, 1, 6, 8),
        Encode.ldFunc(2, inner - 5),
        Encode.mov64Imm(3, 0),
        Encode.mov64Imm(4, 0),
        Encode.callHelper(181),
        Encode.ldx(DW, 1, 6, 40),
        Encode.alu64Reg(C.BPF_ADD, 1, 0),
        Encode.stx(DW, 6, 1, 40),
        Encode.ldx(DW, 2, 6, 16),
        Encode.mov64Imm(0, 0),
        Encode.jmpReg(C.BPF_JNE, 7, 2, 1),
        Encode.mov64Imm(0, 1),
        Encode.exit()
      ]
      const inner = [
        Encode.ldMapValue(2, 0, 0),
        Encode.ldx(DW, 3, 2, 24),
        Encode.alu64Imm(C.BPF_MUL, 1, 3),
        Encode.alu64Imm(C.BPF_ADD, 1, 1),
        Encode.alu64Reg(C.BPF_ADD, 3, 1),
        Encode.stx(DW, 2, 3, 24),
        Encode.mov64Imm(0, 0),
        Encode.exit()
      ]
      const starts = [0, slots(main(0)), slots(main(0)) + slots(outer(0))] as const
      const code = [...main(starts[1]), ...outer(slots(outer(0))), ...inner]
      const more = yield* functionsAt(session, 0, starts)
      const host: Vm.Host = {
        ...Vm.noHost,
        helpers: Array.from({ length: 182 }, (_, id) => id === 181 ? bpfLoop : undefined)
      }
      for (
        const [a, b, c] of [[5n, 3n, 100n], [0n, 3n, 1n], [10n, 2n, 4n], [7n, 0n, 0n], [100n, 100n, 99n], [
          1n << 24n,
          1n,
          1n
        ]]
      ) {
        const memory = memoryOf(0, a ?? 0n, b ?? 0n, c ?? 0n)
        memory.fill(0, 24)
        const { live, ours } = yield* beside(session, { code, memory, host, more })
        assert.deepStrictEqual(ours, live, `A=${a} B=${b} C=${c}`)
      }
    })))
})
