import { assert, describe, it } from "@effect/vitest"
import * as fc from "fast-check"
import * as Encode from "../../../../src/insn/Encode.ts"
import { helperCount, helperName } from "../../../../src/insn/Helpers.ts"
import { ProgType } from "../../../../src/services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../../../src/services/Kernel/abi/Errno.ts"
import * as Contexts from "../../../../src/vm/contexts/Contexts.ts"
import * as BoundMap from "../../../../src/vm/helpers/BoundMap.ts"
import type * as Environment from "../../../../src/vm/helpers/Environment.ts"
import * as Helpers from "../../../../src/vm/helpers/Helpers.ts"
import * as Maps from "../../../../src/vm/maps/SimulatedMap.ts"
import * as Vm from "../../../../src/vm/Vm.ts"
import {
  addressOf,
  BPF_MAP_TYPE_ARRAY,
  BPF_MAP_TYPE_DEVMAP,
  BPF_MAP_TYPE_HASH,
  BPF_MAP_TYPE_RINGBUF,
  bytesIn,
  call,
  environmentOf,
  faultOf,
  given,
  mapIn,
  packetIn,
  returned,
  runIn
} from "./running.ts"

const { address } = Vm.Memory

const typed = (
  params: ReadonlyArray<Environment.ArgumentType>,
  call: Environment.OverrideFunction
): Environment.Override => ({ params, call })

describe("the surroundings of a program", () => {
  it("are what the environment says", () => {
    const environment = environmentOf({
      time: (clock) => ({ monotonic: 1n, boot: 2n, coarse: 3n, tai: 1n << 62n })[clock],
      jiffies: () => 77n,
      random: () => 0xfedcba98,
      cpu: 3,
      numaNode: 1,
      task: { pid: 5, tgid: 4, uid: 1000, gid: 100 }
    })
    const answers: Record<string, bigint> = {
      ktime_get_ns: 1n,
      ktime_get_boot_ns: 2n,
      ktime_get_coarse_ns: 3n,
      ktime_get_tai_ns: 1n << 62n,
      jiffies64: 77n,
      get_prandom_u32: 0xfedcba98n,
      get_smp_processor_id: 3n,
      get_numa_node_id: 1n,
      get_current_pid_tgid: (4n << 32n) | 5n,
      get_current_uid_gid: (100n << 32n) | 1000n,
      get_attach_cookie: 0n
    }
    for (const [name, answer] of Object.entries(answers)) {
      assert.strictEqual(returned(call(environment, name)), answer, name)
    }
  })

  it("have a task whose name is cut and padded", () => {
    const environment = environmentOf({ task: { comm: "a-rather-long-name" } })
    for (
      const [size, seen] of [[16, "a-rather-long-n\0"], [20, "a-rather-long-n\0\0\0\0\0"], [4, "a-r\0"], [
        1,
        "\0"
      ]] as const
    ) {
      const region = bytesIn(environment, new Uint8Array(size).fill(0xff))
      assert.strictEqual(returned(call(environment, "get_current_comm", address(region), size)), 0n)
      assert.strictEqual(Buffer.from(region.bytes).toString("latin1"), seen)
    }
  })

  it("have clocks of their own where nothing is said", () => {
    const environment = environmentOf()
    const first = returned(call(environment, "ktime_get_ns"))
    assert.isTrue(first > 0n && returned(call(environment, "ktime_get_ns")) >= first)
    assert.isTrue(returned(call(environment, "jiffies64")) > 0n)
  })
})

describe("overrides", () => {
  it("stand in for helpers by name or id, with arguments as they are typed", () => {
    const seen: Array<ReadonlyArray<bigint>> = []
    const environment = environmentOf({
      overrides: new Map<number | string, Environment.Override>([
        ["bpf_get_current_task", () => 0x1234n],
        [5, (args) => {
          seen.push(args)
          return -1
        }],
        ["bpf_skb_ecn_set_ce", typed(["u8", "s8", "s32", "bool"], (args) => args.reduce((sum, by) => sum + by, 0n))]
      ])
    })
    assert.strictEqual(returned(call(environment, "get_current_task")), 0x1234n)
    assert.strictEqual(returned(call(environment, "ktime_get_ns", 1, -1, 3, 4, 5)), -1n)
    assert.deepStrictEqual(seen, [[1n, (1n << 64n) - 1n, 3n, 4n, 5n]])
    assert.strictEqual(returned(call(environment, "skb_ecn_set_ce", 0x1ff, 0x1ff, -5, 256)), 255n - 1n - 5n)
  })

  it("read and write what their arguments point to", () => {
    const environment = environmentOf({
      overrides: new Map<number | string, Environment.Override>([
        ["bpf_get_stackid", (_, { bytes, name, string }) => {
          assert.strictEqual(name, "bpf_get_stackid")
          assert.isUndefined(bytes(2, 8))
          assert.isUndefined(string(2))
          given(bytes(1, 1)).fill(0x58)
          return BigInt(given(string(1)).length)
        }]
      ])
    })
    const region = bytesIn(environment, Uint8Array.from(Buffer.from("abc\0d")))
    assert.strictEqual(returned(call(environment, "get_stackid", address(region), 0)), 3n)
    assert.strictEqual(Buffer.from(region.bytes).toString(), "Xbc\0d")
  })

  it("that throw, or answer what is no number, end the program with a fault that names them", () => {
    const environment = environmentOf({
      overrides: new Map<number | string, Environment.Override>([
        ["bpf_get_current_task", () => {
          throw new Error("no such task")
        }],
        ["bpf_ktime_get_ns", () => 0.5]
      ])
    })
    assert.match(
      faultOf(call(environment, "get_current_task")).message,
      /override of bpf_get_current_task.*no such task/
    )
    assert.match(faultOf(call(environment, "ktime_get_ns")).message, /override of bpf_ktime_get_ns failed/)
  })

  it("stand in for kernel functions, others are named", () => {
    const environment = environmentOf({
      overrides: new Map<number | string, Environment.Override>([["bpf_mine", typed(["s32"], ([a]) => given(a) * 2n)]])
    })
    const names = new Map([[7, "bpf_mine"], [8, "bpf_other"]])
    const insns = (id: number) => Encode.program(Encode.mov64Imm(1, -21), Encode.callKfunc(id), Encode.exit())
    assert.strictEqual(returned(runIn(environment, insns(7), names)), -42n)
    const error = faultOf(runIn(environment, insns(8), names))
    assert.strictEqual(error.reason, "UnknownKfunc")
    assert.match(error.message, /bpf_other.*override/)
  })
})

describe("helpers that are not simulated", () => {
  it("fault with their name and what to do; those of syscall programs stop the machine", () => {
    const environment = environmentOf()
    const simulated = new Set(Helpers.names(environment))
    const outside: Array<string> = []
    for (let id = 1; id < helperCount; id++) {
      const name = given(helperName(id))
      if (simulated.has(name)) continue
      const outcome = call(environment, id)
      if (outcome._tag === "Calls") {
        outside.push(name)
        continue
      }
      const error = faultOf(outcome)
      assert.strictEqual(error.reason, "UnknownHelper")
      assert.include(error.message, name)
      assert.include(error.message, "override")
    }
    assert.deepStrictEqual(outside, [
      "bpf_sys_bpf",
      "bpf_btf_find_by_name_kind",
      "bpf_sys_close",
      "bpf_kallsyms_lookup_name"
    ])
    assert.isAtLeast(simulated.size, 83)
  })

  it("have no id that no kernel has", () => {
    const outcome = call(environmentOf(), 9999)
    assert.strictEqual(outcome._tag, "Calls")
  })
})

describe("maps in memory", () => {
  it("give the same element the same address, and one address to a map", () => {
    const environment = environmentOf()
    const bound = mapIn(environment, BPF_MAP_TYPE_HASH)
    assert.strictEqual(BoundMap.bind(environment, bound.map), bound)
    const key = bytesIn(environment, new Uint8Array(4))
    const value = bytesIn(environment, Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8))
    assert.strictEqual(returned(call(environment, "map_lookup_elem", addressOf(bound), address(key))), 0n)
    assert.strictEqual(
      returned(call(environment, "map_update_elem", addressOf(bound), address(key), address(value), 0)),
      0n
    )
    const first = returned(call(environment, "map_lookup_elem", addressOf(bound), address(key)))
    assert.notStrictEqual(first, 0n)
    assert.strictEqual(returned(call(environment, "map_lookup_elem", addressOf(bound), address(key))), first)
  })

  it("of arrays have an address for each byte of the first value, and none beyond", () => {
    const environment = environmentOf()
    const array = mapIn(environment, BPF_MAP_TYPE_ARRAY)
    const start = given(BoundMap.valueAddress(environment, array, 0))
    assert.strictEqual(BoundMap.valueAddress(environment, array, 7), start + 7n)
    for (const offset of [8, -1]) assert.isUndefined(BoundMap.valueAddress(environment, array, offset))
    assert.isUndefined(BoundMap.valueAddress(environment, mapIn(environment, BPF_MAP_TYPE_HASH), 0))
  })

  it("fault for what is no map, for a key that is too short, and when they are gone", () => {
    const environment = environmentOf()
    const bound = mapIn(environment, BPF_MAP_TYPE_ARRAY)
    const key = bytesIn(environment, new Uint8Array(4))
    assert.match(
      faultOf(call(environment, "map_lookup_elem", address(key), address(key))).message,
      /r1 of the call is no map/
    )
    assert.match(faultOf(call(environment, "map_lookup_elem", addressOf(bound) + 1n, address(key))).message, /no map/)
    assert.match(
      faultOf(call(environment, "map_lookup_elem", addressOf(bound), address(key, 1))).message,
      /r2 of the call/
    )
    const value = BigInt.asUintN(64, returned(call(environment, "map_lookup_elem", addressOf(bound), address(key))))
    BoundMap.unbind(environment, bound)
    assert.match(faultOf(call(environment, "map_lookup_elem", addressOf(bound), address(key))).message, /no map/)
    const load = Encode.program(Encode.ldImm64(1, value), Encode.ldx(0x18, 0, 1, 0), Encode.exit())
    assert.strictEqual(faultOf(runIn(environment, load)).reason, "NotMapped")
  })
})

describe("ring buffers", () => {
  it("wake their consumer, and get back what a program that faulted held", () => {
    const woken: Array<string> = []
    const environment = environmentOf({ wake: ({ name }) => woken.push(name) })
    const ring = mapIn(environment, BPF_MAP_TYPE_RINGBUF, { keySize: 0, valueSize: 0, maxEntries: 4096 })
    const record = BigInt.asUintN(64, returned(call(environment, "ringbuf_reserve", addressOf(ring), 8, 0)))
    const store = Encode.program(
      Encode.ldImm64(1, record),
      Encode.st(0x18, 1, 0, 7),
      Encode.mov64Imm(0, 0),
      Encode.exit()
    )
    assert.strictEqual(returned(runIn(environment, store)), 0n)
    assert.strictEqual(returned(call(environment, "ringbuf_submit", record, 0)), 0n)
    assert.deepStrictEqual(woken, ["m"])
    assert.strictEqual(faultOf(runIn(environment, store)).reason, "NotMapped")
    assert.match(faultOf(call(environment, "ringbuf_submit", record, 0)).message, /no record that was reserved/)

    assert.notStrictEqual(returned(call(environment, "ringbuf_reserve", addressOf(ring), 8, 0)), 0n)
    assert.strictEqual(environment.records.size, 1)
    Helpers.abandon(environment)
    assert.strictEqual(environment.records.size, 0)
    const data = bytesIn(environment, new Uint8Array(8))
    assert.strictEqual(returned(call(environment, "ringbuf_output", addressOf(ring), address(data), 8, 0)), 0n)
    assert.strictEqual(returned(call(environment, "ringbuf_query", addressOf(ring), 0)), 48n)
  })
})

describe("redirects", () => {
  it("are recorded, and answer as the kind of program has it", () => {
    const environment = environmentOf()
    const frame = new Uint8Array(64).fill(9)
    const tc = packetIn(environment, ProgType.BPF_PROG_TYPE_SCHED_CLS, { dataIn: frame })
    assert.strictEqual(returned(call(environment, "redirect", 3, 1)), 7n)
    assert.strictEqual(returned(call(environment, "redirect", 3, 2)), 2n)
    assert.strictEqual(returned(call(environment, "clone_redirect", tc.address, 1, 0)), 0n)
    assert.strictEqual(returned(call(environment, "clone_redirect", tc.address, 4, 0)), BigInt(-numbers.EINVAL))
    Contexts.close(tc.opened)
    const xdp = packetIn(environment, ProgType.BPF_PROG_TYPE_XDP, { dataIn: frame })
    assert.strictEqual(returned(call(environment, "redirect", 5, 0)), 4n)
    assert.strictEqual(returned(call(environment, "redirect", 5, 1)), 0n)
    const devices = mapIn(environment, BPF_MAP_TYPE_DEVMAP, { valueSize: 4 })
    assert.strictEqual(returned(call(environment, "redirect_map", addressOf(devices), 2, 2)), 2n)
    Maps.userUpdate(devices.map, Uint8Array.of(2, 0, 0, 0), Uint8Array.of(1, 0, 0, 0), 0n)
    assert.strictEqual(returned(call(environment, "redirect_map", addressOf(devices), 2, 2)), 4n)
    Contexts.close(xdp.opened)
    assert.deepStrictEqual(
      environment.redirects.map(({ helper, map, packet, target }) => [helper, target, packet?.length, map?.name]),
      [
        ["bpf_redirect", 3, undefined, undefined],
        ["bpf_clone_redirect", 1, 64, undefined],
        ["bpf_redirect", 5, undefined, undefined],
        ["bpf_redirect_map", 2, undefined, "m"]
      ]
    )
  })
})

describe("hashes of packets", () => {
  it("are the same for the same packet, kept when set, and gone when invalid", () => {
    const environment = environmentOf()
    const frame = Uint8Array.from({ length: 60 }, (_, at) => at)
    const { address: skb } = packetIn(environment, ProgType.BPF_PROG_TYPE_SCHED_CLS, { dataIn: frame })
    const { address: other } = packetIn(environment, ProgType.BPF_PROG_TYPE_SCHED_CLS, { dataIn: frame })
    const hash = returned(call(environment, "get_hash_recalc", skb))
    assert.notStrictEqual(hash, 0n)
    assert.strictEqual(returned(call(environment, "get_hash_recalc", other)), hash)
    call(environment, "set_hash", skb, 99)
    assert.strictEqual(returned(call(environment, "get_hash_recalc", skb)), 99n)
    call(environment, "set_hash_invalid", skb)
    assert.strictEqual(returned(call(environment, "get_hash_recalc", skb)), hash)
  })
})

describe("kernel functions", () => {
  it("count: the numeric iterator, and what only matters beside others", () => {
    const environment = environmentOf()
    const names = new Map([[1, "bpf_iter_num_new"], [2, "bpf_iter_num_next"], [3, "bpf_iter_num_destroy"], [
      4,
      "bpf_rcu_read_lock"
    ]])
    // The sum of 3, 4 and 5.
    const insns = Encode.program(
      Encode.callKfunc(4),
      Encode.mov64Imm(6, 0),
      Encode.mov64Reg(1, 10),
      Encode.alu64Imm(0x00, 1, -8),
      Encode.mov64Imm(2, 3),
      Encode.mov64Imm(3, 6),
      Encode.callKfunc(1),
      Encode.mov64Reg(1, 10),
      Encode.alu64Imm(0x00, 1, -8),
      Encode.callKfunc(2),
      Encode.jmpImm(0x10, 0, 0, 3),
      Encode.ldx(0x00, 1, 0, 0),
      Encode.alu64Reg(0x00, 6, 1),
      Encode.ja(-7),
      Encode.mov64Reg(0, 6),
      Encode.exit()
    )
    assert.strictEqual(returned(runIn(environment, insns, names)), 12n)
  })
})

describe("any arguments", () => {
  /** Numbers, and addresses of everything that there is, perhaps with an offset. */
  const values = (count: number) =>
    fc.oneof(
      {
        weight: 4,
        arbitrary: fc.record({ region: fc.nat(count - 1), offset: fc.constantFrom(0, 0, 0, 1, 8, -1, 60) })
      },
      fc.constantFrom(
        0n,
        1n,
        2n,
        4n,
        8n,
        14n,
        40n,
        64n,
        0xffffn,
        0x7fffffffn,
        0xffffffffn,
        (1n << 63n) - 1n,
        (1n << 64n) - 1n
      ),
      fc.bigInt({ min: 0n, max: (1n << 64n) - 1n })
    )

  const world = () => {
    const environment = environmentOf()
    const maps = [
      mapIn(environment, BPF_MAP_TYPE_ARRAY),
      mapIn(environment, BPF_MAP_TYPE_HASH),
      mapIn(environment, BPF_MAP_TYPE_DEVMAP, { valueSize: 4 }),
      mapIn(environment, BPF_MAP_TYPE_RINGBUF, { keySize: 0, valueSize: 0, maxEntries: 4096 })
    ]
    const frame = Uint8Array.from({ length: 100 }, (_, at) => at === 12 ? 8 : at === 13 ? 0 : at)
    const packets = [ProgType.BPF_PROG_TYPE_SCHED_CLS, ProgType.BPF_PROG_TYPE_CGROUP_SKB, ProgType.BPF_PROG_TYPE_XDP]
      .map((type) => packetIn(environment, type, { dataIn: frame }).address)
    const guard = new Uint8Array(192).fill(0x5a)
    const memory = bytesIn(environment, guard.subarray(64, 128))
    return { environment, guard, addresses: [...maps.map(addressOf), ...packets, address(memory), address(memory)] }
  }

  /** Whether helpers with any arguments end with a value or an error, within the memory that they were given. */
  const holds = (spoil: (environment: Environment.Environment) => void, numRuns: number) => {
    const count = world().addresses.length
    return fc.check(
      fc.property(
        fc.array(
          fc.record({
            id: fc.integer({ min: 1, max: helperCount }),
            args: fc.array(values(count), { minLength: 5, maxLength: 5 })
          }),
          { minLength: 1, maxLength: 12 }
        ),
        (calls) => {
          const { addresses, environment, guard } = world()
          spoil(environment)
          for (const { args, id } of calls) {
            const numbers = args.map((value) =>
              typeof value === "bigint" ? value : given(addresses[value.region]) + BigInt(value.offset)
            )
            const outcome = call(environment, id, ...numbers)
            assert.include(["Done", "Fault", "Calls"], outcome._tag)
          }
          assert.isTrue(guard.subarray(0, 64).every((byte) => byte === 0x5a), "before its memory")
          assert.isTrue(guard.subarray(128).every((byte) => byte === 0x5a), "behind its memory")
        }
      ),
      { numRuns }
    )
  }

  it("end with a value or an error, within the memory that was given", () => {
    const result = holds(() => undefined, 400)
    assert.isFalse(result.failed, fc.defaultReportMessage(result) ?? "")
  })

  it("named fault: a region that is wider than its memory is seen", () => {
    const result = holds((environment) => {
      for (const region of environment.memory.regions) {
        if (region.name === "bytes") Vm.Memory.rebind(region, new Uint8Array(region.bytes.buffer))
      }
      // Ends with the first that shows it: so many that one does.
    }, 20_000)
    assert.isTrue(result.failed)
  })
})
