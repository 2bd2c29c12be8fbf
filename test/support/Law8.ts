/**
 * What law 8 runs programs on, and how it compares: inputs of test runs, most of them ordinary, some of sizes and fields
 * that a kernel must refuse.
 */
import * as Effect from "effect/Effect"
import * as fc from "fast-check"
import { ProgType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { ProgTestRun } from "../../src/services/Kernel/KernelCall.ts"
import type { Program } from "../../src/stages/open/BpfObject.ts"
import * as Beside from "./KernelsBeside.ts"
import { fixture } from "./Require.ts"

/** One test run. */
export type Run = Omit<ProgTestRun, "_tag" | "prog">

/** The kinds of program that both kernels can test-run. */
export const runnable: ReadonlySet<number> = new Set([
  ProgType.BPF_PROG_TYPE_XDP,
  ProgType.BPF_PROG_TYPE_SCHED_CLS,
  ProgType.BPF_PROG_TYPE_SCHED_ACT,
  ProgType.BPF_PROG_TYPE_SOCKET_FILTER,
  ProgType.BPF_PROG_TYPE_CGROUP_SKB,
  ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
  ProgType.BPF_PROG_TYPE_SYSCALL
])

/** The packets of the fixtures' capture. */
const captured: ReadonlyArray<Uint8Array> = (() => {
  const file = fixture("packets.pcap")
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength)
  const packets: Array<Uint8Array> = []
  for (let at = 24; at < file.length; at += 16 + view.getUint32(at + 8, true)) {
    packets.push(file.slice(at + 16, at + 16 + view.getUint32(at + 8, true)))
  }
  return packets
})()

/** A packet of the capture with some bytes changed, cut or made longer. */
const changed: fc.Arbitrary<Uint8Array> = fc.record({
  packet: fc.constantFrom(...captured),
  changes: fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 4 }),
  length: fc.option(fc.nat(120), { freq: 3 })
}).map(({ changes, length, packet }) => {
  const bytes = new Uint8Array(length ?? packet.length)
  bytes.set(packet.subarray(0, bytes.length))
  for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte
  return bytes
})

const zeros = (length: number): Uint8Array => new Uint8Array(length)

/** Packets, with those that are too short for an Ethernet header (0 to 13 bytes) and those longer than a page among them. */
const packets: fc.Arbitrary<Uint8Array> = fc.oneof(
  { weight: 10, arbitrary: changed },
  { weight: 3, arbitrary: fc.uint8Array({ minLength: 0, maxLength: 13 }) },
  { weight: 4, arbitrary: fc.uint8Array({ minLength: 14, maxLength: 300 }) },
  { weight: 1, arbitrary: fc.integer({ min: 1400, max: 5000 }).map(zeros) },
  { weight: 1, arbitrary: fc.constantFrom(14, 64, 100, 3519, 3520, 3521, 4096, 65535, 70000).map(zeros) }
)

/**
 * Contexts of packets: words of which most are 0, where a field that may be given is, and where one that may not. None is 2,
 * the number of the first interface that a machine has besides loopback: what it is like is the machine's own affair.
 */
const packetContexts: fc.Arbitrary<Uint8Array | undefined> = fc.option(
  fc.record({
    size: fc.constantFrom(0, 4, 20, 24, 60, 100, 188, 192, 196, 200),
    words: fc.array(
      fc.tuple(
        fc.constantFrom(0, 1, 2, 3, 4, 5, 8, 9, 10, 11, 12, 13, 16, 17, 19, 20, 35, 38, 40, 41, 44, 46, 48),
        fc.constantFrom(0, 1, 14, 60, 64, 100, 0x1234, 0xffff_ffff)
      ),
      { maxLength: 4 }
    )
  }).map(({ size, words }) => {
    const bytes = new Uint8Array(size)
    const view = new DataView(bytes.buffer)
    for (const [word, value] of words) if (word * 4 + 4 <= size) view.setUint32(word * 4, value, true)
    return bytes
  }),
  { nil: undefined, freq: 2 }
)

/** A run of nothing, once. */
export const oneRun: Run = {
  dataOutSize: 0,
  contextOutSize: 0,
  repeat: 0,
  flags: 0,
  cpu: 0,
  batchSize: 0
}

const withContext = (contextIn: Uint8Array | undefined): Partial<Run> => contextIn === undefined ? {} : { contextIn }

const packetRuns: fc.Arbitrary<Run> = fc.record({
  dataIn: packets,
  context: packetContexts,
  dataRoom: fc.constantFrom(0, 1, 14, 4096, 131072),
  contextOutSize: fc.constantFrom(0, 0, 8, 24, 192, 256),
  repeat: fc.constantFrom(0, 1, 1, 2, 5),
  flags: fc.constantFrom(0, 0, 0, 0, 0, 0, 1, 8),
  cpu: fc.constantFrom(0, 0, 0, 0, 0, 1),
  batchSize: fc.constantFrom(0, 0, 0, 0, 0, 1)
}).map(({ context, dataRoom, ...run }) => ({ ...run, ...withContext(context), dataOutSize: dataRoom }))

/** Runs on plain memory. */
const memoryRuns: fc.Arbitrary<Run> = fc.record({
  context: fc.option(
    fc.oneof(
      fc.uint8Array({ minLength: 0, maxLength: 13 }),
      fc.uint8Array({ minLength: 0, maxLength: 110 }),
      fc.constantFrom(16, 24, 32, 64, 96).chain((length) => fc.uint8Array({ minLength: length, maxLength: length }))
    ),
    { nil: undefined, freq: 8 }
  ),
  contextOutSize: fc.constantFrom(0, 0, 0, 8, 24, 64),
  dataOutSize: fc.constantFrom(0, 0, 0, 0, 0, 0, 8),
  repeat: fc.constantFrom(0, 0, 0, 0, 0, 1),
  flags: fc.constantFrom(0, 0, 0, 0, 1, 2),
  cpu: fc.constantFrom(0, 0, 0, 0, 0, 1, 4096),
  batchSize: fc.constantFrom(0, 0, 0, 0, 0, 1)
}).map(({ context, ...run }) => ({ ...run, ...withContext(context) }))

/** Test runs of a program of this type. */
export const inputsFor = (program: Program): fc.Arbitrary<Run> =>
  program.type === ProgType.BPF_PROG_TYPE_SYSCALL || program.type === ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT
    ? memoryRuns
    : packetRuns

/** A deliberate mistake in what one kernel answers, to show that the comparison notices it. */
export type Mistake = "return value" | "data" | "error" | "maps"

const mistaken = (mistake: Mistake | undefined, answer: unknown): unknown => {
  if (typeof answer !== "object" || answer === null) return answer
  if (mistake === "error" && "errno" in answer) return { errno: "EIO" }
  if (mistake === "return value" && "retval" in answer) return { ...answer, retval: Number(answer.retval) ^ 1 }
  return mistake === "data" && "dataOut" in answer ? { ...answer, dataOut: `${String(answer.dataOut)}00` } : answer
}

/** Where the answers to these runs, or what is in the maps after them, differ between the kernels: the first place. */
export const differences = Effect.fnUntraced(function*(
  { kernels, live, simulated }: Beside.Beside,
  name: string,
  runs: ReadonlyArray<Run>,
  mistake?: Mistake
) {
  for (const [position, run] of runs.entries()) {
    const expected = yield* Beside.runOf(live, name, run)
    const actual = mistaken(mistake, yield* Beside.runOf(simulated, name, run))
    if (JSON.stringify(expected) !== JSON.stringify(actual)) return { position, run, live: expected, simulated: actual }
  }
  if (mistake === "maps") yield* Beside.runOf(simulated, name, runs[0] ?? oneRun)
  const expected = yield* Beside.dump(kernels.live, live)
  const actual = yield* Beside.dump(kernels.simulated, simulated)
  for (const map of Object.keys(expected)) {
    if (map in actual && actual[map] === undefined) continue
    if (JSON.stringify(expected[map]) !== JSON.stringify(actual[map])) {
      return { map, live: expected[map], simulated: actual[map] }
    }
  }
  return undefined
})
