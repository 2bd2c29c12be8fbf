/**
 * Helpers and contexts of the simulated kernel beside those of the running one: scripts of calls with generated numbers, on
 * generated packets and contexts. Return value, error number, data, context, every answer of a helper, every field of the
 * context after it and all maps must be equal.
 *
 * Not compared: what the kernel leaves to chance or to itself (hashes of packets, order of hashes, `%p`, bytes beyond a packet
 * whose headers were pushed past its end), and what sends packets.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import * as Fs from "node:fs"
import type { SimulatedOptions } from "../../src/services/Kernel/KernelSimulated.ts"
import type { Override } from "../../src/vm/helpers/Environment.ts"
import type { Beside } from "../support/KernelsBeside.ts"
import { describeWith, runs } from "../support/Require.ts"
import * as Steps from "../support/StepsBeside.ts"

interface Case {
  readonly steps: ReadonlyArray<Steps.Step>
  readonly input: Steps.Input
}

/** What each kernel made of a case. */
const performed = (beside: Beside, program: string, { input, steps }: Case) =>
  Effect.runPromise(Steps.perform(beside, program, steps, input))

/** Cases run on both kernels until one differs. */
const agree = (
  name: string,
  program: string,
  cases: fc.Arbitrary<Case>,
  count: number,
  options: SimulatedOptions = {}
) =>
  Effect.scoped(Effect.gen(function*() {
    const beside = yield* Steps.load(name, options)
    const property = fc.asyncProperty(cases, async (one) => {
      const { live, simulated } = await performed(beside, program, one)
      assert.deepStrictEqual(simulated, live)
    })
    yield* Effect.promise(() => fc.assert(property, { numRuns: runs(count) }))
  }))

// Numbers, packets and contexts

const edges = [0, 1, 2, 3, 4, 8, 12, 14, 16, 18, 20, 34, 40, 60, 255, 256, 0xffff, 0x10000, 0x7fffffff, 0x80000000]
const numbers: fc.Arbitrary<bigint> = fc.oneof(
  { weight: 3, arbitrary: fc.constantFrom(...edges).map(BigInt) },
  { weight: 2, arbitrary: fc.integer({ min: -64, max: 300 }).map(BigInt) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }) }
)

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length })

const types = [0x0800, 0x0800, 0x86dd, 0x8100, 0x88a8, 0x0806, 0x0003, 0x05ff, 0x0600]
const destinations = ["000000000000", "ffffffffffff", "01005e000001", "020000000001"]

/** Frames of all sizes, those too short to be one among them, with types and tags that helpers look at. */
const frames: fc.Arbitrary<Uint8Array> = fc.record({
  body: fc.oneof(
    fc.uint8Array({ minLength: 0, maxLength: 13 }),
    fc.uint8Array({ minLength: 14, maxLength: 70 }),
    fc.uint8Array({ minLength: 14, maxLength: 1514 })
  ),
  destination: fc.constantFrom(...destinations),
  type: fc.constantFrom(...types),
  inner: fc.constantFrom(...types)
}).map(({ body, destination, inner, type }) => {
  const frame = body.slice()
  if (frame.length >= 6) frame.set(Buffer.from(destination, "hex"))
  if (frame.length >= 14) frame.set([type >>> 8, type & 0xff], 12)
  if (frame.length >= 18 && (type === 0x8100 || type === 0x88a8)) frame.set([inner >>> 8, inner & 0xff], 16)
  return frame
})

const word = (offset: number, values: ReadonlyArray<number>) =>
  fc.record({ offset: fc.constant(offset), value: fc.oneof(fc.constantFrom(...values), fc.nat()) })

/** An interface that no machine has. */
const noDevice = 0x4000_0000

/** Offsets in `struct __sk_buff`, and numbers that its checks turn on. */
const skbFields = [
  word(8, [1, 0xffffffff]),
  word(32, [7]),
  word(36, [0, 1, 2]),
  fc.record({ offset: fc.constant(40), value: fc.constantFrom(0, 1, 1, 1, noDevice) }),
  word(48, [3]),
  word(64, [4]),
  word(152, [0, 1]),
  word(156, [0, 1]),
  word(160, [0, 14, 60, 65536, 65537]),
  word(164, [0, 1, 65535, 65536]),
  word(176, [0, 1, 0xffff, 0x10000]),
  word(184, [5]),
  word(44, [0, 1]),
  word(180, [0, 1])
]

const contextOf = (size: number, fields: ReadonlyArray<{ readonly offset: number; readonly value: number }>) => {
  const context = new Uint8Array(size)
  const view = new DataView(context.buffer)
  for (const { offset, value } of fields) if (offset + 4 <= size) view.setUint32(offset, value, true)
  return context
}

/** No context, one that only comes back, or one with a few fields. */
const skbInputs: fc.Arbitrary<Steps.Input> = fc.record({
  dataIn: frames,
  repeat: fc.constantFrom(0, 1, 1, 1, 3),
  context: fc.oneof(
    fc.constant<Steps.Input>({}),
    fc.constant<Steps.Input>({ contextOutSize: 192 }),
    fc.record({
      size: fc.constantFrom(192, 192, 184, 180, 200, 1, 4096, 4097),
      fields: fc.subarray(skbFields, { maxLength: 4 }).chain((chosen) => fc.tuple(...chosen)),
      room: fc.constantFrom(192, 192, 100)
    }).map(({ fields, room, size }): Steps.Input => ({ contextIn: contextOf(size, fields), contextOutSize: room }))
  ),
  dataOutSize: fc.constantFrom(80_000, 80_000, 80_000, 40, 0),
  flags: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, 8)
}).map(({ context, ...rest }) => ({ ...rest, ...context }))

const step = (
  op: number,
  more: Partial<Record<keyof Steps.Step, fc.Arbitrary<unknown>>> = {}
): fc.Arbitrary<Steps.Step> =>
  fc.record({
    op: fc.constant(op),
    size: fc.nat(63),
    a: numbers,
    b: fc.oneof(fc.constantFrom(0n, 0n, 1n, 2n), numbers),
    c: fc.oneof(fc.constantFrom(0n, 0n, 1n, 2n), numbers),
    d: fc.oneof(fc.constantFrom(0n, 2n, 4n, 16n), numbers),
    bytes: bytes(64),
    ...more
  }) as fc.Arbitrary<Steps.Step>

const big = (min: number, max: number) => fc.integer({ min, max }).map(BigInt)
const one = (...values: ReadonlyArray<number>) => fc.constantFrom(...values).map(BigInt)

const scripts = (steps: ReadonlyArray<fc.Arbitrary<Steps.Step>>) =>
  fc.array(fc.oneof(...steps), { minLength: 1, maxLength: Steps.STEPS })

/** Calls on socket buffers: any numbers, and numbers that get far. */
const tcSteps = [
  ...Array.from({ length: 27 }, (_, op) => step(op)),
  step(4, { a: big(0, 200), b: one(0) }),
  step(5, { a: big(0, 200), b: one(0) }),
  step(6, { a: one(0x0008, 0xdd86), b: one(0) }),
  step(8, {
    a: one(-40, -20, -8, -4, 4, 8, 20, 28, 40),
    b: one(0, 1),
    c: one(0, 0, 1, 2, 4, 10, 12, 0x20, 0x80, 0x100)
  }),
  step(9, { a: one(0x0081, 0xa888, 0) }),
  step(10),
  step(11, { a: one(0, 2, 14, 24), d: one(0, 2, 4) }),
  step(12, { a: one(0, 2, 14, 24), d: one(0, 2, 4, 0x12, 0x24, 0x64) })
]

/**
 * Room made twice in a short packet can begin behind its end (the second time for a header that is not there), and what the
 * kernel has there is anything: such packets are made longer.
 */
const lengthened = ({ input, steps }: Case): Case => {
  const dataIn = input.dataIn ?? new Uint8Array(0)
  if (dataIn.length < 14 || dataIn.length > 120 || steps.filter(({ op }) => op === 8).length < 2) {
    return { input, steps }
  }
  const longer = new Uint8Array(120)
  longer.set(dataIn)
  return { input: { ...input, dataIn: longer }, steps }
}

/** Calls on packets under XDP. */
const xdpSteps = [
  ...Array.from({ length: 9 }, (_, op) => step(op)),
  ...[0, 1, 2].flatMap((op) => [step(op, { a: big(-60, 60) }), step(op, { a: big(-50, 50).map((by) => by * 4n) })]),
  ...[3, 4].map((op) => step(op, { a: big(0, 1600) })),
  step(6, { a: big(0, 5), b: one(0, 1, 2, 3, 4, 8, 10, 24) })
]

/** Packets under XDP: also longer than a page, with metadata, and only in part in the first page. */
const xdpInputs: fc.Arbitrary<Steps.Input> = fc.record({
  dataIn: fc.oneof(
    { weight: 6, arbitrary: frames },
    {
      weight: 1,
      arbitrary: fc.constantFrom(3520, 3521, 4096, 9000, 73_152, 73_153).map((size) => new Uint8Array(size).fill(7))
    }
  ),
  meta: fc.constantFrom(0, 0, 0, 4, 8, 32, 60, 216, 220, 256, 3),
  end: fc.oneof(fc.constant(undefined), fc.nat(100)),
  device: fc.constantFrom(0, 0, 1, noDevice),
  queue: fc.constantFrom(0, 0, 0, 1),
  kind: fc.constantFrom("none", "out", "given", "given")
}).map(({ dataIn, device, end, kind, meta, queue }): Steps.Input => {
  if (kind === "none") return { dataIn }
  if (kind === "out") return { dataIn, contextOutSize: 24 }
  const fields = [[0, meta], [4, end ?? dataIn.length], [12, device], [16, queue]] as const
  return {
    dataIn,
    contextIn: contextOf(24, fields.map(([offset, value]) => ({ offset, value }))),
    contextOutSize: 24
  }
})

// Text

const pieces = [
  ..."%d %u %x %X %i %lld %llx %ld %lu %5d %-8x %08lX %+d|% i|%s %20s %-5s %pks %pus %c %5c %% %p %px %pK %20px %-20px %ps %pS %pB"
    .split(" "),
  ..."%pi4 %pI4 %pi6 %pI6 %l %hd %.3d %#x %Lx %p% x% a \n \t \x01 \x7f \x80 \xe9 \xb1 \xa0 \xd7 %pi4z %pd %é".split(
    " "
  ),
  " "
]

const text = (strings: fc.Arbitrary<string>) =>
  strings.map((content) => {
    const encoded = new Uint8Array(64)
    encoded.set(Buffer.from(content, "latin1").subarray(0, 63))
    return encoded
  })

const formats = text(fc.array(fc.constantFrom(...pieces), { maxLength: 6 }).map((some) => some.join("")))

const numerals = text(
  fc.tuple(
    fc.constantFrom("", "-", " -", "  \t", "+", "0x", "-0x", "0", "-0", "0X"),
    fc.constantFrom(
      "0",
      "1",
      "077",
      "8",
      "9223372036854775807",
      "9223372036854775808",
      "18446744073709551615",
      "18446744073709551616",
      "ffffffffffffffff",
      "10000000000000000",
      "deadBEEF",
      "1777777777777777777777",
      "2000000000000000000000",
      "",
      "zz"
    ),
    fc.constantFrom("", " ", "g", "9", "\n")
  ).map((parts) => parts.join(""))
)

const plain = text(fc.constantFrom("plain", "plaim", "plaiz", "plai", "plainer", ""))

/** Bytes with many zeros, for strings and sums; the last one ends every string in reach. */
const sparse = fc.array(fc.oneof(fc.constant(0), fc.nat(255)), { minLength: 63, maxLength: 63 }).map((some) =>
  Uint8Array.from([...some, 0])
)

/** Calls that need no packet. */
const generalSteps = [
  ...[0, 1].map((op) =>
    step(op, { bytes: numerals, a: one(0, 0, 8, 10, 16, 2, 32), size: fc.integer({ min: 1, max: 30 }) })
  ),
  step(2, { bytes: plain, size: fc.nat(9) }),
  ...[3, 4, 5].map((op) => step(op, { bytes: formats, size: fc.oneof(fc.constant(63), fc.nat(63)) })),
  step(10),
  step(11, { bytes: sparse }),
  step(12, { a: one(0, 3) }),
  step(13),
  step(14),
  ...[20, 21, 22, 23, 24, 26].map((op) => step(op, { bytes: sparse })),
  ...[25, 27, 28].map((op) => step(op, { a: big(0, 255) })),
  step(29, { a: one(0, 0, 0, 1), b: big(0, 60), c: big(0, 60), d: big(0, 60) }),
  step(30),
  step(31),
  step(32, { a: big(0, 8191), b: one(0, 0, 0, 1), c: big(0, 40) }),
  step(33, { a: big(0, 5) }),
  step(34),
  step(40, { a: one(0, 1, 5, 100, 8_388_609), b: one(0, 3, 50, 1_000_000), c: one(0, 0, 0, 1) }),
  ...[41, 42].map((op) => step(op, { b: one(0, 1, 2, 100), c: one(0, 0, 0, 1) })),
  step(43, { a: one(0, -5, 5, -2147483648, 2147483640), b: one(0, 7, 60, 2147483647, -2147483648) }),
  step(44),
  ...Array.from({ length: 11 }, (_, at) => step(50 + at)),
  step(62),
  step(70),
  step(70, { a: one(0, 1, 2, 0xffffffff, 0x10_0000_0000) })
]

const frame64: Steps.Input = { dataIn: new Uint8Array(64) }

describeWith({ kind: "live", tools: ["clang-19"] }, "helpers and contexts beside the kernel's", () => {
  it.live("on socket buffers, as traffic control calls them", () => {
    const cases = fc.record({ steps: scripts(tcSteps), input: skbInputs }).map(lengthened)
    return agree("tc_steps", "tc_steps", cases, 600)
  })

  it.live("on packets under XDP, fragments and metadata included", () => {
    const cases = fc.record({ steps: scripts(xdpSteps), input: xdpInputs })
    return Effect.scoped(Effect.gen(function*() {
      const beside = yield* Steps.load("xdp_steps")
      for (const loaded of [beside.live, beside.simulated]) {
        yield* Steps.setElement(loaded, "devices", 1, new Uint8Array(Uint32Array.of(1).buffer))
      }
      const property = fc.asyncProperty(cases, async (one) => {
        const { live, simulated } = await performed(beside, "xdp_steps", one)
        assert.deepStrictEqual(simulated, live)
      })
      yield* Effect.promise(() => fc.assert(property, { numRuns: runs(600) }))
    }))
  })

  it.live("on text, memory, checksums, dynptrs, ring buffers, loops and maps", () =>
    agree("general", "general_steps", fc.record({ steps: scripts(generalSteps), input: fc.constant(frame64) }), 600))

  for (const program of ["cgroup_look", "socket_look", "socket_load"]) {
    it.live(`in what ${program} sees of a packet and leaves of it`, () =>
      agree("kinds", program, fc.record({ steps: fc.constant([]), input: skbInputs }), 200))
  }

  it.live("in the arguments of raw tracepoints and the memory of syscall programs", () => {
    const inputs: fc.Arbitrary<Steps.Input> = fc.record({
      contextIn: fc.oneof(fc.uint8Array({ maxLength: 110 }), bytes(16), bytes(24), bytes(96)),
      repeat: fc.constantFrom(0, 0, 0, 1),
      dataIn: fc.constantFrom(new Uint8Array(0), new Uint8Array(0), new Uint8Array(14)),
      dataOutSize: fc.constantFrom(0, 0, 0, 10),
      flags: fc.constantFrom(0, 0, 0, 1, 2),
      cpu: fc.constantFrom(0, 0, 0, 1, 4000),
      batchSize: fc.constantFrom(0, 0, 0, 1)
    })
    const room = (input: Steps.Input): Steps.Input => ({ ...input, contextOutSize: input.contextIn?.length ?? 0 })
    return Effect.andThen(
      agree("kinds", "raw_arguments", fc.record({ steps: fc.constant([]), input: inputs }), 200),
      agree("kinds", "syscall_memory", fc.record({ steps: fc.constant([]), input: inputs.map(room) }), 200)
    )
  })

  it.live("in the lines of the trace log", () => {
    const log = "/sys/kernel/tracing/trace"
    if (!Fs.existsSync(log)) return Effect.void
    const lines: Array<string> = []
    const shown = [
      "%d|%5u|%-6x|",
      "%llX %lld",
      "%c%c%c",
      "%s|%8s|",
      "%pi4 %pI4",
      "%pI6",
      "%pi6",
      "%ps %pS",
      "%05d%% i",
      "é %x"
    ]
    return Effect.scoped(Effect.gen(function*() {
      const beside = yield* Steps.load("general", { onPrintk: (line) => lines.push(line) })
      for (const [at, format] of shown.entries()) {
        const marked = new Uint8Array(64)
        marked.set(Buffer.from(`seen ${at} ${format}`))
        const script = [{ op: 4, size: 63, a: 65, b: 0x1234567890n, c: -7, d: 66, bytes: marked }]
        yield* Steps.perform(beside, "general_steps", script, frame64)
      }
      const live = Fs.readFileSync(log, "utf8").split("\n").flatMap((line) => /(seen \d+ .*)$/.exec(line)?.[1] ?? [])
      assert.strictEqual(lines.length, shown.length)
      assert.deepStrictEqual(lines, live.slice(-shown.length))
    }))
  })

  it.live("in draining what user space wrote", () =>
    Effect.scoped(Effect.gen(function*() {
      const beside = yield* Steps.load("general")
      const samples = [[4, 1], [12, 2], [0, 3], [8, 4], [100, 5]] as const
      for (const loaded of [beside.live, beside.simulated]) yield* Steps.produce(loaded, "user_ring", samples)
      for (const script of [{ op: 34, a: 4 }, { op: 34, a: 0, b: 2 }, { op: 34, a: 1 }, { op: 34, a: 0 }]) {
        const { live, simulated } = yield* Steps.perform(beside, "general_steps", [script], frame64)
        assert.deepStrictEqual(simulated, live)
      }
    })))

  it.live("named fault: a helper that answers something else, and a context with another field, are seen", () => {
    const wrong: Record<string, Override> = { bpf_csum_diff: () => 1n, bpf_get_route_realm: () => 1n }
    const differs = Effect.fnUntraced(function*(name: string, program: string, op: number) {
      const beside = yield* Steps.load(name, { helpers: wrong })
      const { live, simulated } = yield* Steps.perform(beside, program, [{ op }], frame64)
      assert.notDeepEqual(simulated, live)
    })
    return Effect.scoped(Effect.gen(function*() {
      yield* differs("general", "general_steps", 22)
      yield* differs("tc_steps", "tc_steps", 19)
      const beside = yield* Steps.load("kinds")
      const live = yield* Steps.perform(beside, "cgroup_look", [], { ...frame64, contextOutSize: 192 })
      const other = yield* Steps.perform(beside, "cgroup_look", [], { dataIn: new Uint8Array(65), contextOutSize: 192 })
      assert.notDeepEqual(other.simulated, live.live)
    }))
  })
})
