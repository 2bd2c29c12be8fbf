/**
 * A map of every type and a program of every type, of the lists in `BpfConstants`: loaded where the running kernel has the
 * type, refused with the kernel's error and a hint of ours where it has not. What is expected follows from what
 * `feature probe` says of this kernel, so that the same test holds on any.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import {
  MapFlag,
  MapType,
  mapTypeName,
  type MapTypeSymbol,
  ProgType,
  progTypeName,
  type ProgTypeSymbol
} from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { Support } from "../../src/services/Kernel/Feature.ts"
import type { FeatureReport } from "../../src/services/Kernel/FeatureReport.ts"
import { KernelError, VerifierError } from "../../src/services/Kernel/KernelError.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import type { BpfObject } from "../../src/stages/open/BpfObject.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import * as Open from "../../src/stages/open/Open.ts"
import { openDescriptors } from "../support/LiveKernel.ts"
import { type EditOf, loadFixture } from "../support/LoadFixture.ts"
import { describeWith, fixture } from "../support/Require.ts"
import * as Rights from "../support/Rights.ts"

/** Where a type is loaded from: a fixture, and what in it. */
interface Place {
  readonly fixture: string
  readonly name: string
  readonly edits?: ReadonlyArray<EditOf>
}

const opened = (name: string): BpfObject => Result.getOrThrow(Open.fromBytes(fixture(name), { path: name }))

/** The maps of every type, as far as there are fixtures for them. */
const mapPlaces: ReadonlyMap<number, Place> = new Map([
  ...["map_types.bpf.o", "map_types_new.bpf.o"].flatMap((name) =>
    opened(name).maps.filter((map) => map.name.startsWith("type_")).map((map): [number, Place] => [map.attr.type, {
      fixture: name,
      name: map.name
    }])
  ),
  ...opened("struct_ops.bpf.o").maps.filter(({ origin }) => origin === "StructOps").map((
    map
  ): [number, Place] => [map.attr.type, {
    fixture: "struct_ops.bpf.o",
    name: map.name
  }])
])

const kinds = (...names: ReadonlyArray<string>): ReadonlyArray<Place> =>
  names.map((name) => ({ fixture: "section_kinds.bpf.o", name: `kind_${name}` }))

/** The programs of every type: a type that Linux takes on has to be told here. */
const progPlaces: Readonly<Record<Exclude<ProgTypeSymbol, "BPF_PROG_TYPE_UNSPEC">, ReadonlyArray<Place>>> = {
  BPF_PROG_TYPE_SOCKET_FILTER: kinds("socket"),
  BPF_PROG_TYPE_KPROBE: kinds("kprobe", "kretprobe", "ksyscall", "uprobe", "uretprobe", "uprobe_s", "usdt"),
  BPF_PROG_TYPE_SCHED_CLS: kinds("tc", "classifier"),
  BPF_PROG_TYPE_SCHED_ACT: kinds("action"),
  BPF_PROG_TYPE_TRACEPOINT: kinds("tracepoint", "tp"),
  BPF_PROG_TYPE_XDP: kinds("xdp", "xdp_frags", "xdp_devmap", "xdp_cpumap"),
  BPF_PROG_TYPE_PERF_EVENT: kinds("perf_event"),
  BPF_PROG_TYPE_CGROUP_SKB: kinds("cgroup_skb", "cgroup_skb_ingress", "cgroup_skb_egress"),
  BPF_PROG_TYPE_CGROUP_SOCK: kinds("cgroup_sock", "cgroup_sock_release", "cgroup_post_bind4", "cgroup_post_bind6"),
  BPF_PROG_TYPE_LWT_IN: kinds("lwt_in"),
  BPF_PROG_TYPE_LWT_OUT: kinds("lwt_out"),
  BPF_PROG_TYPE_LWT_XMIT: kinds("lwt_xmit"),
  BPF_PROG_TYPE_SOCK_OPS: kinds("sockops"),
  BPF_PROG_TYPE_SK_SKB: kinds("sk_skb", "sk_skb_stream_parser", "sk_skb_stream_verdict", "sk_skb_verdict"),
  BPF_PROG_TYPE_CGROUP_DEVICE: kinds("cgroup_dev"),
  BPF_PROG_TYPE_SK_MSG: kinds("sk_msg"),
  BPF_PROG_TYPE_RAW_TRACEPOINT: kinds("raw_tp", "raw_tracepoint"),
  BPF_PROG_TYPE_CGROUP_SOCK_ADDR: kinds("cgroup_bind4", "cgroup_connect6", "cgroup_sendmsg4"),
  BPF_PROG_TYPE_LWT_SEG6LOCAL: kinds("lwt_seg6local"),
  BPF_PROG_TYPE_LIRC_MODE2: kinds("lirc_mode2"),
  BPF_PROG_TYPE_SK_REUSEPORT: kinds("sk_reuseport", "sk_reuseport_migrate"),
  BPF_PROG_TYPE_FLOW_DISSECTOR: kinds("flow_dissector"),
  BPF_PROG_TYPE_CGROUP_SYSCTL: kinds("cgroup_sysctl"),
  BPF_PROG_TYPE_RAW_TRACEPOINT_WRITABLE: kinds("raw_tp_w"),
  BPF_PROG_TYPE_CGROUP_SOCKOPT: kinds("cgroup_getsockopt", "cgroup_setsockopt"),
  BPF_PROG_TYPE_TRACING: kinds("fentry", "fexit", "tp_btf", "iter"),
  BPF_PROG_TYPE_STRUCT_OPS: opened("struct_ops.bpf.o").programs.filter(({ entry }) => entry).slice(0, 1).map((
    { name }
  ) => ({ fixture: "struct_ops.bpf.o", name })),
  BPF_PROG_TYPE_EXT: [{
    fixture: "program_targets.bpf.o",
    name: "replacement",
    edits: [
      (object) => Edit.loadOnly(object, ["target", "replacement"]),
      (object) => Edit.attachTo(object, "replacement", { program: "target" })
    ]
  }],
  BPF_PROG_TYPE_LSM: kinds("lsm", "lsm_s"),
  BPF_PROG_TYPE_SK_LOOKUP: kinds("sk_lookup"),
  BPF_PROG_TYPE_SYSCALL: kinds("syscall"),
  BPF_PROG_TYPE_NETFILTER: kinds("netfilter")
}

/** Programs of a type that needs a trampoline elsewhere, and here does not: they load where the rest is refused. */
const withoutTrampoline: ReadonlySet<string> = new Set(["kind_tp_btf", "kind_iter"])

/** Map flags that kernels add by themselves. */
const added = MapFlag.BPF_F_RDONLY_PROG

let asked: Promise<FeatureReport> | undefined

/** What this kernel says of itself, asked once. */
const report = Effect.promise(() => asked ??= Effect.runPromise(KernelLive.features({ helpers: false })))

/** A failure that must be the kernel's or its verifier's. */
const refusalOf = (error: unknown): KernelError | VerifierError =>
  error instanceof KernelError || error instanceof VerifierError
    ? error
    : assert.fail(`not a refusal: ${String(error)}`)

/** A type that the kernel has not, or does not let this process have. */
const mustBeRefused = (support: Support | undefined, error: unknown, hint: RegExp): void => {
  const refusal = refusalOf(error)
  if (support?._tag === "Refused") {
    assert.strictEqual(refusal.errno, support.errno, refusal.message)
    assert.match(refusal.hint ?? "", /CAP_BPF|policy/)
  } else {
    assert.strictEqual(refusal.errno, "EINVAL", refusal.message)
    assert.match(refusal.hint ?? "", hint)
  }
}

describeWith({ kind: "live" }, "maps of every type", () => {
  const types = Object.entries(MapType) as ReadonlyArray<[MapTypeSymbol, number]>

  it("have a fixture", () => {
    const without = types.filter(([, type]) => type !== MapType.BPF_MAP_TYPE_UNSPEC && !mapPlaces.has(type))
    assert.deepStrictEqual(without.map(([symbol]) => symbol), [])
  })

  for (const [type, place] of mapPlaces) {
    it.live(mapTypeName(type), () =>
      Effect.gen(function*() {
        const support = (yield* report).mapTypes.get(type)
        const before = openDescriptors()
        const object = opened(place.fixture)
        const isOps = type === MapType.BPF_MAP_TYPE_STRUCT_OPS
        // Alone: what the kernel says is of this map.
        const alone = object.maps.map((map): EditOf => (each) =>
          Edit.setMap(each, map.name, { autocreate: isOps || map.name === place.name })
        )
        const loaded = yield* Effect.result(Effect.scoped(Effect.gen(function*() {
          const made = yield* loadFixture(place.fixture, { edits: alone })
          const map = made.map(place.name) ?? assert.fail("it has no ref")
          const definition = object.maps.find(({ name }) => name === place.name) ?? assert.fail()
          return { info: yield* made.session.call({ _tag: "MapGetInfo", map }), attr: definition.attr }
        })))
        assert.deepStrictEqual(openDescriptors(), before)
        if (support?._tag === "Supported") {
          if (Result.isFailure(loaded)) return assert.fail(String(loaded.failure))
          const { attr, info } = loaded.success
          assert.strictEqual(info.type, type)
          assert.strictEqual(info.keySize, attr.keySize)
          if (!isOps) {
            assert.strictEqual(info.valueSize, attr.valueSize)
            assert.strictEqual(info.flags & ~added, attr.flags & ~added)
          }
          assert.strictEqual(info.name, attr.name.slice(0, 15))
          return
        }
        if (Result.isSuccess(loaded)) return assert.fail(`it loads, and ${support?._tag} was said`)
        mustBeRefused(support, loaded.failure, /this kernel does not know \S+ maps, .*: see `feature probe`/)
      }))
  }
})

describeWith({ kind: "live" }, "programs of every type", () => {
  it("have a fixture whose program is of the type", () => {
    for (const [symbol, type] of Object.entries(ProgType)) {
      if (type === ProgType.BPF_PROG_TYPE_UNSPEC) continue
      const places = progPlaces[symbol as keyof typeof progPlaces] ?? []
      assert.isAbove(places.length, 0, symbol)
      for (const place of places) {
        const program = opened(place.fixture).programs.find(({ name }) => name === place.name)
        assert.strictEqual(program?.type, type, place.name)
      }
    }
  })

  for (const [symbol, places] of Object.entries(progPlaces)) {
    const type = ProgType[symbol as ProgTypeSymbol]
    for (const place of places) {
      it.live(`${progTypeName(type)}: ${place.name}`, () =>
        Effect.gen(function*() {
          const told = (yield* report).programTypes.get(type)
          const before = openDescriptors()
          const edits = place.edits ?? (place.fixture === "struct_ops.bpf.o"
            ? []
            : [(object: BpfObject) => Edit.loadOnly(object, [place.name])])
          const loaded = yield* Effect.result(Effect.scoped(Effect.gen(function*() {
            const made = yield* loadFixture(place.fixture, { edits })
            const at = made.object.programs.findIndex(({ name }) => name === place.name)
            return yield* made.session.call({ _tag: "ProgGetInfo", prog: Ref.prog(at) })
          })))
          assert.deepStrictEqual(openDescriptors(), before)
          if (type === ProgType.BPF_PROG_TYPE_EXT && !Rights.identifiers() && Result.isFailure(loaded)) {
            // The program that it replaces a function of tells its types by an identifier.
            return assert.match(String(loaded.failure), /EPERM.*\n.*needs CAP_SYS_ADMIN/)
          }
          if (told?._tag === "Supported" || (told?._tag === "Refused" && withoutTrampoline.has(place.name))) {
            if (Result.isFailure(loaded)) return assert.fail(String(loaded.failure))
            assert.strictEqual(loaded.success.type, type)
            assert.strictEqual(loaded.success.name, place.name.slice(0, 15))
            return
          }
          if (Result.isSuccess(loaded)) return assert.fail(`it loads, and ${told?._tag} was said`)
          mustBeRefused(told, loaded.failure, /this kernel has no \S+ programs: .*see `feature probe`/)
        }))
    }
  }

  it("named fault: a kernel that is said to lack a type, and loads it, is found out", () => {
    assert.throws(() => mustBeRefused({ _tag: "Unsupported" }, undefined, /./), /not a refusal/)
    const other = new KernelError({ call: "MapCreate", subject: "m", errno: "ENOMEM", errnoNumber: 12, hint: "memory" })
    assert.throws(() => mustBeRefused({ _tag: "Unsupported" }, other, /feature probe/))
  })
})
