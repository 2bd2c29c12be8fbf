/** Refusals for want of a right: what is said of them, and what is done about locked memory. */
import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Encode from "../../../../../src/insn/Encode.ts"
import * as Arena from "../../../../../src/services/Kernel/abi/Arena.ts"
import * as Attr from "../../../../../src/services/Kernel/abi/Attr.ts"
import { Command, MapType, ProgType } from "../../../../../src/services/Kernel/abi/BpfConstants.ts"
import { numbers } from "../../../../../src/services/Kernel/abi/Errno.ts"
import type { Attempt } from "../../../../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../../../../src/services/Kernel/KernelCall.ts"
import * as KernelLive from "../../../../../src/services/Kernel/KernelLive.ts"
import * as KernelRecording from "../../../../../src/services/Kernel/KernelRecording.ts"
import * as KernelSimulated from "../../../../../src/services/Kernel/KernelSimulated.ts"
import type { Files } from "../../../../../src/services/Kernel/live/Files.ts"
import * as Memlock from "../../../../../src/services/Kernel/live/Memlock.ts"
import * as Permission from "../../../../../src/services/Kernel/live/Permission.ts"
import * as Surroundings from "../../../../../src/services/Kernel/live/Surroundings.ts"
import * as Token from "../../../../../src/services/Kernel/live/Token.ts"
import * as Ref from "../../../../../src/services/Kernel/Ref.ts"
import type { MemlockLimit } from "../../../../../src/services/Kernel/sys/Sys.ts"
import { mapCreate, progLoad, returning } from "../../../../support/LiveKernel.ts"
import { facts, make, type Script, type Trace } from "./fakeSys.ts"

const masks = {
  all: "000001ffffffffff",
  none: "0000000000000000",
  bpf: "0000008000000000",
  bpfPerfmon: "000000c000000000"
}

const surroundings = (
  more: Partial<Surroundings.Surroundings> & { readonly mask?: string; readonly seccomp?: string }
) => ({
  lockdown: "[none] integrity confidentiality\n",
  uidMap: "         0          0 4294967295\n",
  unprivilegedDisabled: "2\n",
  ...more,
  status: `Name:\tnode\nCapEff:\t${more.mask ?? masks.all}\nSeccomp:\t${more.seccomp ?? "0"}\n`
})

const kprobe = progLoad(0, returning(0), { type: ProgType.BPF_PROG_TYPE_KPROBE })
const hash = mapCreate(0)

describe("a missing right", () => {
  const cases: ReadonlyArray<readonly [string, KernelCall, Parameters<typeof surroundings>[0], RegExp]> = [
    [
      "of a program",
      kprobe,
      { mask: masks.bpf },
      /type kprobe needs CAP_BPF and CAP_PERFMON, and .* not have CAP_PERFMON:/
    ],
    [
      "of packets",
      progLoad(0, returning(0), { type: ProgType.BPF_PROG_TYPE_XDP }),
      { mask: masks.bpfPerfmon },
      /NET_ADMIN:/
    ],
    [
      "of replacing",
      progLoad(0, returning(0), { type: ProgType.BPF_PROG_TYPE_EXT }),
      { mask: masks.none },
      /not have CAP_BPF and CAP_PERFMON and CAP_NET_ADMIN/
    ],
    ["of everybody", hash, { mask: masks.none }, /needs CAP_BPF, or kernel\.unprivileged_bpf_disabled=0, and/],
    [
      "of a map",
      mapCreate(0, { type: MapType.BPF_MAP_TYPE_LRU_HASH }),
      { mask: masks.none },
      /type lru_hash needs CAP_BPF, and this/
    ],
    ["of sockets", mapCreate(0, { type: MapType.BPF_MAP_TYPE_SOCKMAP }), { mask: masks.bpf }, /not have CAP_NET_ADMIN/],
    [
      "of types",
      { _tag: "BtfLoad", as: Ref.btf(0), bytes: new Uint8Array(1) },
      { mask: masks.none },
      /loading BTF needs CAP_BPF/
    ],
    ["of identifiers", { _tag: "GetById", as: Ref.map(0), id: 1 }, { mask: masks.bpf }, /needs CAP_SYS_ADMIN/],
    ["in a namespace", hash, { uidMap: "0 1000 1\n" }, /user namespace.*BPF token/],
    ["under lockdown", kprobe, { lockdown: "none [integrity] confidentiality" }, /locked down/],
    ["under a filter", kprobe, { seccomp: "2" }, /seccomp/],
    ["under a policy", kprobe, {}, /which this process has: a security module/],
    ["of locked memory", hash, { memlock: { soft: 65_536n, hard: 65_536n } }, /locked memory, which is 64\.0 KiB /],
    ["of much locked memory", hash, { memlock: { soft: 8n << 20n, hard: 8n << 20n } }, /which is 8\.0 MiB /],
    ["of little locked memory", hash, { memlock: { soft: 1000n, hard: 0n } }, /which is 1000 bytes /]
  ]
  for (const [name, call, around, said] of cases) {
    it(`${name} is named`, () => assert.match(Permission.decide(call, surroundings(around))?.hint ?? "", said))
  }

  it("is not guessed at where nothing is known, and not looked for in calls that need none", () => {
    assert.isUndefined(Permission.decide(kprobe, { status: "", lockdown: "" })?.hint)
    assert.isUndefined(
      Permission.decide({ _tag: "MapFreeze", map: Ref.map(0) }, surroundings({ mask: masks.none }))?.hint
    )
    // Everybody may create it on this kernel: the rights are not what is missing.
    const open = Permission.decide(hash, surroundings({ mask: masks.none, unprivilegedDisabled: "0\n" }))?.hint
    assert.notMatch(open ?? "", /does not have/)
  })
})

/** A process's files, none of which need be whole. */
const filesOf = (contents: Readonly<Record<string, string>>): Files => ({
  read: (path) => {
    const text = contents[path]
    return text === undefined ? Result.fail(numbers.ENOENT) : Result.succeed(new TextEncoder().encode(text))
  },
  list: () => Result.fail(numbers.ENOENT)
})

describe("what is read of a process", () => {
  it("may be cut anywhere", () => {
    const whole = surroundings({}).status
    for (let length = 0; length <= whole.length; length++) {
      const read = Surroundings.read(
        filesOf({ "/proc/self/status": whole.slice(0, length), "/proc/self/uid_map": "0 0" })
      )
      assert.isFalse(Surroundings.isInUserNamespace(read))
      assert.isString(Permission.decide(kprobe, read)?.hint ?? "")
    }
  })
})

/** A kernel with a limit on locked memory that programs and maps count against until it is `needed`. */
const limited = (needed: bigint, hard: bigint, privileged: boolean) => {
  let limit: MemlockLimit = { soft: 65_536n, hard }
  const set: Array<MemlockLimit> = []
  const trace: Trace = []
  const script: Script = () => limit.soft >= needed ? 9 : -numbers.EPERM
  const sys = {
    ...make(script, trace),
    memlock: () => limit,
    setMemlock: (wanted: MemlockLimit) => {
      if (wanted.hard > limit.hard && !privileged) return -numbers.EPERM
      set.push(wanted)
      limit = wanted
      return 0
    }
  }
  return { sys, set, limit: () => limit }
}

const session = (
  machine: ReturnType<typeof limited>,
  version: number,
  memlock: Memlock.MemlockOption,
  calls: ReadonlyArray<KernelCall>
) =>
  Effect.gen(function*() {
    const seen: Array<string> = []
    const kernel = KernelLive.fromParts({
      sys: () => Result.succeed(machine.sys),
      facts: { ...facts, kernelVersion: () => Result.succeed(version) },
      files: filesOf({ "/proc/self/status": surroundings({}).status }),
      architecture: "x64",
      memlock
    })
    const answers = yield* Effect.scoped(Effect.gen(function*() {
      const opened = yield* kernel.session({
        observer: {
          before: () => Effect.void,
          after: ({ because, number }: Attempt, answer) =>
            Effect.sync(() =>
              void seen.push(`${number} ${because ?? "first"}: ${Result.isSuccess(answer) ? "ok" : "no"}`)
            )
        }
      })
      return yield* Effect.forEach(calls, (call) => Effect.result(opened.call(call)))
    }))
    const said = answers.map((answer) => Result.isSuccess(answer) ? "ok" : answer.failure.message)
    return { said, seen }
  })

const [old, modern] = [0x05_04_00, 0x06_01_00]

describe("locked memory", () => {
  it.live("is raised when it was in the way of an old kernel, once, and the call is made again", () =>
    Effect.gen(function*() {
      const machine = limited(1n << 30n, 65_536n, true)
      const { said, seen } = yield* session(machine, old, "raise", [hash, mapCreate(1)])
      assert.deepStrictEqual(said, ["ok", "ok"])
      assert.deepStrictEqual(seen, ["0 first: no", "1 RLIMIT_MEMLOCK: ok", "0 first: ok"])
      assert.deepStrictEqual(machine.set, [{ soft: Memlock.unlimited, hard: Memlock.unlimited }])
    }))

  it.live("is raised for programs, whose attempts go on counting", () =>
    Effect.gen(function*() {
      const { said, seen } = yield* session(limited(1n << 30n, 65_536n, true), old, "raise", [
        progLoad(0, returning(0))
      ])
      assert.deepStrictEqual(said, ["ok"])
      assert.deepStrictEqual(seen, ["0 first: no", "1 log: no", "2 RLIMIT_MEMLOCK: ok"])
    }))

  it.live("is raised as far as an unprivileged process may, or to what was asked", () =>
    Effect.gen(function*() {
      const humble = limited(1n << 20n, 1n << 21n, false)
      assert.deepStrictEqual((yield* session(humble, old, "raise", [hash])).said, ["ok"])
      assert.deepStrictEqual(humble.set, [{ soft: 1n << 21n, hard: 1n << 21n }])
      const exact = limited(1n << 20n, 1n << 30n, true)
      assert.deepStrictEqual((yield* session(exact, old, 1n << 20n, [hash])).said, ["ok"])
      assert.deepStrictEqual(exact.set, [{ soft: 1n << 20n, hard: 1n << 30n }])
    }))

  it.live("is left alone where it is to be, where it does not matter, and where it does not help", () =>
    Effect.gen(function*() {
      const left = limited(1n << 20n, 1n << 21n, true)
      const { said } = yield* session(left, old, "leave", [hash])
      assert.match(said[0] ?? "", /EPERM\nhint: .*limit on locked memory, which is 64\.0 KiB/)
      assert.deepStrictEqual(left.set, [])
      const never = limited(1n << 63n, 1n << 21n, false)
      const often = yield* session(never, old, "raise", [hash, mapCreate(1)])
      assert.strictEqual(never.set.length, 1, "once is enough")
      assert.deepStrictEqual(often.seen, ["0 first: no", "1 RLIMIT_MEMLOCK: no", "0 first: no"])
      const new_ = limited(1n << 20n, 1n << 21n, true)
      const refused = yield* session(new_, modern, "raise", [hash])
      assert.deepStrictEqual(new_.set, [])
      assert.match(
        refused.said[0] ?? "",
        /EPERM\nhint: creating a map of type hash needs CAP_BPF, which this process has/
      )
    }))
})

describe("a token", () => {
  it.effect("is the live kernel's alone", () =>
    Effect.gen(function*() {
      const { kernel: simulated } = yield* KernelSimulated.make()
      const { kernel: recording } = yield* KernelRecording.make
      for (const kernel of [simulated, recording]) {
        const error = yield* Effect.flip(Effect.scoped(kernel.session({ token: "/sys/fs/bpf" })))
        assert.strictEqual(error.errno, "EOPNOTSUPP")
        yield* Effect.scoped(kernel.session({ token: "default" }))
      }
    }))

  it("is passed in every call that takes one, and in no other", () => {
    const trace: Trace = []
    const sys = Token.using(make(() => 5, trace), 33)
    const sent = <L extends Arena.Layout>(command: number, layout: L, values: Arena.Values<L>) => {
      const arena = Result.getOrThrow(Arena.make(layout, values))
      sys.bpf(command, arena)
      return arena
    }
    const map = sent(Command.BPF_MAP_CREATE, Attr.MapCreate, { map_type: 1, map_flags: 4 })
    assert.deepStrictEqual([Arena.field(map, "map_flags"), Arena.field(map, "map_token_fd")], [0x1_0004, 33])
    const prog = sent(Command.BPF_PROG_LOAD, Attr.ProgLoad, { insns: Arena.bytes(Encode.exit()) })
    assert.deepStrictEqual([Arena.field(prog, "prog_flags"), Arena.field(prog, "prog_token_fd")], [0x1_0000, 33])
    const btf = sent(Command.BPF_BTF_LOAD, Attr.BtfLoad, {})
    assert.deepStrictEqual([Arena.field(btf, "btf_flags"), Arena.field(btf, "btf_token_fd")], [0x1_0000, 33])
    const byId = sent(Command.BPF_BTF_GET_FD_BY_ID, Attr.BtfGetFdById, { btf_id: 7 })
    assert.deepStrictEqual([Arena.field(byId, "open_flags"), Arena.field(byId, "fd_by_id_token_fd")], [0x1_0000, 33])
    const other = sent(Command.BPF_MAP_FREEZE, Attr.MapFreeze, { map_fd: 1 })
    assert.isTrue(new Uint8Array(other.buffer).subarray(4).every((byte) => byte === 0))
  })
})
