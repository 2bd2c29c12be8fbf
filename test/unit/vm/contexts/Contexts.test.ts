import { assert, describe, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Encode from "../../../../src/insn/Encode.ts"
import { AttachType, ProgType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import * as Contexts from "../../../../src/vm/contexts/Contexts.ts"
import type { Environment } from "../../../../src/vm/helpers/Environment.ts"
import { loopback } from "../../../../src/vm/helpers/Environment.ts"
import * as Vm from "../../../../src/vm/Vm.ts"
import { environmentOf, faultOf, given, returned, runIn } from "../helpers/running.ts"

const { BPF_PROG_TYPE_CGROUP_SKB, BPF_PROG_TYPE_SCHED_CLS, BPF_PROG_TYPE_SOCKET_FILTER, BPF_PROG_TYPE_XDP } = ProgType

const W = 0x00
const H = 0x08
const B = 0x10
const DW = 0x18

/** A run of instructions on a context: what comes back, or the error number. */
const run = (
  type: number,
  input: Contexts.TestRunInput,
  body: ReadonlyArray<Uint8Array> = [],
  environment: Environment = environmentOf(),
  more: Partial<Contexts.Runnable> = {}
) => {
  const opened = Contexts.open(environment, { type, ...more }, input)
  if (Result.isFailure(opened)) {
    return opened.failure._tag === "TestRunError"
      ? opened.failure.errno
      : opened.failure._tag
  }
  const context = Vm.Memory.bigintOf(opened.success.low, opened.success.high)
  const insns = Encode.program(Encode.mov64Imm(0, 0), ...body, Encode.exit())
  const r0 = returned(runIn(environment, insns, new Map(), context))
  const answer = Contexts.finish(opened.success, input, r0)
  Contexts.close(opened.success)
  return Result.isFailure(answer) ? answer.failure.errno : answer.success
}

/** `r0 = *(size *)(r1 + offset)` */
const field = (size: typeof W | typeof H | typeof B | typeof DW, offset: number) => [Encode.ldx(size, 0, 1, offset)]

/** `r0 = data_end - data` */
const span = (data: number, end: number) => [
  Encode.ldx(W, 2, 1, data),
  Encode.ldx(W, 0, 1, end),
  Encode.alu64Reg(0x10, 0, 2)
]

const frame = (length: number, type = 0x0806): Uint8Array => {
  const bytes = Uint8Array.from({ length }, (_, at) => at)
  bytes.set([type >>> 8, type & 0xff], 12)
  return bytes
}

const valueOf = (result: ReturnType<typeof run>): number =>
  typeof result === "string" ? assert.fail(result) : result.retval

describe("test runs on a packet", () => {
  it("want an Ethernet header, and no more than a page holds", () => {
    for (let size = 0; size < 14; size++) {
      for (
        const type of [
          BPF_PROG_TYPE_SCHED_CLS,
          BPF_PROG_TYPE_SOCKET_FILTER,
          BPF_PROG_TYPE_CGROUP_SKB,
          BPF_PROG_TYPE_XDP
        ]
      ) {
        assert.strictEqual(run(type, { dataIn: new Uint8Array(size) }), "EINVAL")
      }
    }
    assert.strictEqual(valueOf(run(BPF_PROG_TYPE_SCHED_CLS, { dataIn: frame(3712) }, field(W, 0))), 3712)
    assert.strictEqual(run(BPF_PROG_TYPE_SCHED_CLS, { dataIn: frame(3713) }), "EINVAL")
    assert.strictEqual(run(BPF_PROG_TYPE_SCHED_CLS, { dataIn: frame(33, 0x0800) }), "EINVAL")
    assert.strictEqual(run(BPF_PROG_TYPE_SCHED_CLS, { dataIn: frame(53, 0x86dd) }), "EINVAL")
    // XDP goes on in fragments, and sees what is in the first page.
    assert.strictEqual(valueOf(run(BPF_PROG_TYPE_XDP, { dataIn: frame(9000) }, span(0, 4))), 3520)
    assert.strictEqual(run(BPF_PROG_TYPE_XDP, { dataIn: new Uint8Array(73_153) }), "ENOMEM")
  })

  it("begin with the link header for traffic control, and behind it for others, whose header comes back zeroed", () => {
    const dataIn = frame(40)
    const first = [Encode.ldx(W, 2, 1, 76), Encode.ldx(B, 0, 2, 0)]
    const room = { dataIn, dataOutSize: 100 }
    const tc = run(BPF_PROG_TYPE_SCHED_CLS, room, first)
    const cgroup = run(BPF_PROG_TYPE_CGROUP_SKB, room, first)
    if (typeof tc === "string" || typeof cgroup === "string") return assert.fail("refused")
    assert.deepStrictEqual([tc.retval, cgroup.retval], [0, 14])
    assert.deepStrictEqual([...tc.dataOut], [...dataIn])
    assert.deepStrictEqual([...cgroup.dataOut], [...new Uint8Array(14), ...dataIn.subarray(14)])
    assert.strictEqual(valueOf(run(BPF_PROG_TYPE_SOCKET_FILTER, { dataIn }, field(W, 0))), 26)
  })

  it("tell the kind of packet by its destination, and its protocol", () => {
    const to = (destination: string, devices = [loopback]) => {
      const dataIn = frame(20)
      dataIn.set(Buffer.from(destination, "hex"))
      return valueOf(run(BPF_PROG_TYPE_SCHED_CLS, { dataIn }, field(W, 4), environmentOf({ devices })))
    }
    const ethernet = { ...loopback, broadcast: new Uint8Array(6).fill(0xff) }
    assert.deepStrictEqual(
      [to("000000000000"), to("ffffffffffff"), to("ffffffffffff", [ethernet]), to("010000000000"), to("020000000000")],
      [0, 2, 1, 2, 3]
    )
    const protocol = (type: number, next = 0) => {
      const dataIn = frame(20, type)
      dataIn.set([next, next], 14)
      return valueOf(run(BPF_PROG_TYPE_SCHED_CLS, { dataIn }, field(W, 16)))
    }
    assert.deepStrictEqual([protocol(0x0806), protocol(0x0100, 0xff), protocol(0x0100)], [0x0608, 0x0100, 0x0400])
  })

  it("refuse stores that the kind of program has not, and fields that it does not see", () => {
    const environment = environmentOf()
    const attempt = (type: number, insn: Uint8Array) => {
      const opened = Result.getOrThrow(Contexts.open(environment, { type }, { dataIn: frame(40) }))
      const insns = Encode.program(insn, Encode.mov64Imm(0, 0), Encode.exit())
      const outcome = runIn(environment, insns, new Map(), Vm.Memory.bigintOf(opened.low, opened.high))
      Contexts.close(opened)
      return outcome
    }
    for (
      const [type, insn] of [
        [BPF_PROG_TYPE_SOCKET_FILTER, Encode.st(W, 1, 8, 1)],
        [BPF_PROG_TYPE_CGROUP_SKB, Encode.st(W, 1, 44, 1)],
        [BPF_PROG_TYPE_SCHED_CLS, Encode.st(W, 1, 0, 1)],
        [BPF_PROG_TYPE_SCHED_CLS, Encode.st(H, 1, 8, 1)],
        [BPF_PROG_TYPE_SOCKET_FILTER, Encode.ldx(W, 0, 1, 76)],
        [BPF_PROG_TYPE_CGROUP_SKB, Encode.ldx(W, 0, 1, 72)],
        [BPF_PROG_TYPE_SCHED_CLS, Encode.ldx(DW, 0, 1, 168)],
        [BPF_PROG_TYPE_SCHED_CLS, Encode.ldx(W, 0, 1, 192)],
        [BPF_PROG_TYPE_XDP, Encode.ldx(W, 0, 1, 20)]
      ] as const
    ) assert.strictEqual(faultOf(attempt(type, insn)).reason, "BadAccess")
    assert.strictEqual(faultOf(attempt(BPF_PROG_TYPE_XDP, Encode.st(W, 1, 0, 1))).reason, "NotWritable")
  })

  it("say how much room was missing", () => {
    const input = { dataIn: frame(40), dataOutSize: 39 }
    assert.strictEqual(run(BPF_PROG_TYPE_SCHED_CLS, input), "ENOSPC")
    assert.strictEqual(run(BPF_PROG_TYPE_SCHED_CLS, { dataIn: frame(40), contextOutSize: 191 }), "ENOSPC")
    const environment = environmentOf()
    const opened = Result.getOrThrow(Contexts.open(environment, { type: BPF_PROG_TYPE_SCHED_CLS }, input))
    const answer = Contexts.finish(opened, input, 0n)
    assert.isTrue(Result.isFailure(answer) && /40 bytes, and there was room for 39/.test(answer.failure.message))
  })

  it("take packets apart when they are closed", () => {
    const environment = environmentOf()
    const opened = Result.getOrThrow(Contexts.open(environment, { type: BPF_PROG_TYPE_XDP }, { dataIn: frame(40) }))
    const insns = Encode.program(Encode.ldx(W, 0, 1, 0), Encode.exit())
    Contexts.close(opened)
    Contexts.close(opened)
    const outcome = runIn(environment, insns, new Map(), Vm.Memory.bigintOf(opened.low, opened.high))
    assert.strictEqual(faultOf(outcome).reason, "NotMapped")
    assert.strictEqual(environment.contexts.size, 0)
  })
})

describe("contexts of XDP", () => {
  const context = (fields: ReadonlyArray<number>): Uint8Array => {
    const bytes = new Uint8Array(24)
    const view = new DataView(bytes.buffer)
    for (const [at, value] of fields.entries()) view.setUint32(at * 4, value, true)
    return bytes
  }

  it("put metadata before the packet, and tell where it ends", () => {
    const input = { dataIn: frame(40), contextIn: context([8, 40]), contextOutSize: 24, dataOutSize: 100 }
    const result = run(BPF_PROG_TYPE_XDP, input, span(8, 0))
    if (typeof result === "string") return assert.fail(result)
    assert.strictEqual(result.retval, 8)
    assert.deepStrictEqual([...result.contextOut], [...context([8, 40])])
    assert.strictEqual(result.dataOut.length, 40)
  })

  it("are refused where they contradict the data", () => {
    const dataIn = frame(300)
    const refused = (fields: ReadonlyArray<number>) => run(BPF_PROG_TYPE_XDP, { dataIn, contextIn: context(fields) })
    assert.deepStrictEqual(
      [[3, 300], [8, 4], [0, 301], [0, 300, 1], [220, 300], [0, 300, 0, 9], [0, 300, 0, 0, 1], [0, 300, 0, 1, 1]].map(
        refused
      ),
      ["EINVAL", "EINVAL", "EINVAL", "EINVAL", "EINVAL", "ENODEV", "EINVAL", "EINVAL"]
    )
    const long = { dataIn, contextIn: new Uint8Array(25).fill(1, 24) }
    assert.strictEqual(run(BPF_PROG_TYPE_XDP, long), "E2BIG")
    const more = { expectedAttachType: AttachType.BPF_XDP_DEVMAP }
    assert.strictEqual(run(BPF_PROG_TYPE_XDP, { dataIn }, [], environmentOf(), more), "EINVAL")
    assert.strictEqual(run(BPF_PROG_TYPE_XDP, { dataIn, flags: 2 }), "UnsupportedTestRun")
  })
})

describe("contexts of bytes", () => {
  it("are read by raw tracepoints, and changed by syscall programs", () => {
    const contextIn = Uint8Array.from({ length: 16 }, (_, at) => at)
    assert.strictEqual(valueOf(run(ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT, { contextIn }, field(B, 9))), 9)
    const result = run(ProgType.BPF_PROG_TYPE_SYSCALL, { contextIn, contextOutSize: 16 }, [Encode.st(B, 1, 3, 77)])
    assert.strictEqual(typeof result === "string" ? result : result.contextOut[3], 77)
    assert.strictEqual(contextIn[3], 3, "what was given is not changed")
    const short = { contextBytes: 17 }
    for (const type of [ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT, ProgType.BPF_PROG_TYPE_SYSCALL]) {
      assert.strictEqual(run(type, { contextIn }, [], environmentOf(), short), "EINVAL")
    }
  })

  it("serve kinds that have no test run", () => {
    assert.strictEqual(run(ProgType.BPF_PROG_TYPE_KPROBE, {}), "ENOTSUPP")
    assert.strictEqual(run(ProgType.BPF_PROG_TYPE_TRACEPOINT, {}), "ENOTSUPP")
    assert.strictEqual(run(ProgType.BPF_PROG_TYPE_FLOW_DISSECTOR, {}), "UnsupportedTestRun")
    const environment = environmentOf()
    const opened = Result.getOrThrow(Contexts.openBytes(environment, "record", Uint8Array.of(1, 2, 3), false))
    const insns = Encode.program(Encode.ldx(B, 0, 1, 2), Encode.exit())
    assert.strictEqual(returned(runIn(environment, insns, new Map(), Vm.Memory.bigintOf(opened.low, opened.high))), 3n)
    const empty = Result.getOrThrow(Contexts.openBytes(environment, "record", new Uint8Array(0), false))
    assert.deepStrictEqual([empty.low, empty.high], [0, 0])
  })
})

describe("any input", () => {
  const types = [
    BPF_PROG_TYPE_SCHED_CLS,
    BPF_PROG_TYPE_SOCKET_FILTER,
    BPF_PROG_TYPE_CGROUP_SKB,
    BPF_PROG_TYPE_XDP,
    ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT,
    ProgType.BPF_PROG_TYPE_SYSCALL,
    ProgType.BPF_PROG_TYPE_LWT_XMIT
  ]

  /** Whether runs that do nothing give back what was given, or an error number, and leave no region behind. */
  const holds = (spoil: (environment: Environment) => void) =>
    fc.check(
      fc.property(
        fc.constantFrom(...types),
        fc.uint8Array({ maxLength: 200 }),
        fc.option(fc.oneof(fc.uint8Array({ maxLength: 250 }), fc.nat(250).map((size) => new Uint8Array(size)))),
        (type, dataIn, contextIn) => {
          const environment = environmentOf()
          spoil(environment)
          const before = environment.memory.next - environment.memory.free.length
          const packet = type !== ProgType.BPF_PROG_TYPE_RAW_TRACEPOINT && type !== ProgType.BPF_PROG_TYPE_SYSCALL
          const input = {
            ...(packet ? { dataIn, dataOutSize: 1000 } : {}),
            ...(contextIn === null ? {} : { contextIn })
          }
          const opened = Contexts.open(environment, { type }, input)
          if (Result.isFailure(opened)) {
            assert.strictEqual(opened.failure._tag, "TestRunError")
            return
          }
          const answer = Result.getOrThrow(Contexts.finish(opened.success, input, 0n))
          Contexts.close(opened.success)
          assert.strictEqual(environment.memory.next - environment.memory.free.length, before)
          if (!packet) return
          const seen = type === BPF_PROG_TYPE_SCHED_CLS || type === BPF_PROG_TYPE_XDP ? 0 : 14
          const data = [...new Uint8Array(seen), ...dataIn.subarray(seen)]
          const meta = type === BPF_PROG_TYPE_XDP && contextIn !== null ? 0 : seen
          assert.deepStrictEqual([...answer.dataOut].slice(meta), data.slice(meta))
        }
      ),
      { numRuns: 300 }
    )

  it("comes back, or is refused with an error number", () => {
    const result = holds(() => undefined)
    assert.isFalse(result.failed, fc.defaultReportMessage(result) ?? "")
  })

  it("named fault: a context that is not taken away is seen", () => {
    const result = holds((environment) => {
      const { free } = environment.memory
      // A memory that does not get its places back.
      Object.defineProperty(free, "push", { value: () => given(free.length) })
    })
    assert.isTrue(result.failed)
  })
})
