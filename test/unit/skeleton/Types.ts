/**
 * What the types of skeletons allow and what they forbid: the compiler runs this file, and nobody else. Each
 * `@ts-expect-error` fails the type check where the line behind it is no mistake.
 */
import * as Effect from "effect/Effect"
import type { Scope } from "effect/Scope"
import type * as Stream from "effect/Stream"
import type { Kernel } from "../../../src/services/Kernel/Kernel.ts"
import type * as Skeleton from "../../../src/skeleton.ts"
import * as GlobalData from "../../fixtures/skeletons/global_data.skel.ts"
import * as MapInMap from "../../fixtures/skeletons/map_in_map.skel.ts"
import * as MapKinds from "../../fixtures/skeletons/map_kinds.skel.ts"
import * as SectionKinds from "../../fixtures/skeletons/section_kinds.skel.ts"
import * as StructOps from "../../fixtures/skeletons/struct_ops.skel.ts"
import * as TestRun from "../../fixtures/skeletons/test_run.skel.ts"
import * as TypedEvents from "../../fixtures/skeletons/typed_events.skel.ts"
import * as Usdt from "../../fixtures/skeletons/usdt.skel.ts"
import * as Firewall from "../../fixtures/skeletons/xdp_firewall.skel.ts"

/** Whether two types are the same. */
// oxlint-disable-next-line no-unnecessary-type-parameters -- how two types are compared without one being assignable
type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false

const same = <A, B>(isSame: Same<A, B>): boolean => isSame

/** What opening and loading answers, needs and fails with. */
export const effects = [
  Firewall.open() satisfies Effect.Effect<Firewall.Opened, Skeleton.OpenError>,
  Firewall.load() satisfies Effect.Effect<
    Firewall.Loaded,
    Skeleton.OpenError | Skeleton.LoadError,
    Kernel | Scope
  >,
  same<Effect.Services<ReturnType<typeof Firewall.load>>, Kernel | Scope>(true),
  same<Effect.Error<ReturnType<typeof Firewall.open>>, Skeleton.OpenError>(true),
  // @ts-expect-error the kernel is a service that somebody provides
  same<Effect.Services<ReturnType<typeof Firewall.load>>, Scope>(true),
  // @ts-expect-error opening fails, too
  same<Effect.Error<ReturnType<typeof Firewall.open>>, never>(true)
]

/** Before the load. */
export const opened = Effect.gen(function*() {
  const { globals, load, maps, programs } = yield* Firewall.open({
    globals: { rodata: { sample_every: 4 } },
    maps: { stats: { maxEntries: 4, pinPath: "/sys/fs/bpf/stats" } },
    programs: { xdp_firewall: { autoload: false } }
  })
  globals.rodata.sample_every = 4
  globals.rodata.blocked_ports = [1, 2, 3, 4]
  // @ts-expect-error four ports, not three
  globals.rodata.blocked_ports = [1, 2, 3]
  // @ts-expect-error a number of 32 bits is no bigint
  globals.rodata.sample_every = 4n
  // @ts-expect-error there is no such variable
  globals.rodata.sample = 4
  // @ts-expect-error there is no such section
  globals.data.sample = 4
  // @ts-expect-error values of structs are not changed in place
  globals.bss.totals.packets = 4n
  maps.stats.maxEntries = 4
  // @ts-expect-error the type of a map stays
  maps.stats.type = 4
  // @ts-expect-error there is no such map
  maps.flows.maxEntries = 4
  programs.xdp_firewall.autoload = false
  // @ts-expect-error not before the load
  yield* programs.xdp_firewall.attach({ device: 1 })
  // @ts-expect-error there is no such map to change
  yield* Firewall.open({ maps: { flows: {} } })
  // @ts-expect-error no such field of a map
  yield* Firewall.open({ maps: { stats: { entries: 4 } } })
  // @ts-expect-error a value of another type
  yield* Firewall.open({ globals: { rodata: { sample_every: "4" } } })
  return yield* load()
})

/** Maps. */
export const maps = Effect.gen(function*() {
  const { maps } = yield* Firewall.load()
  yield* maps.stats.set("PROTOCOL_TCP", { packets: 1n, bytes: 2n })
  same<Effect.Success<ReturnType<typeof maps.stats.get>>, Firewall.protocol_stats | undefined>(true)
  // @ts-expect-error no protocol is called so
  yield* maps.stats.get("PROTOCOL_TCPP")
  // @ts-expect-error a value without one of its members
  yield* maps.stats.set("PROTOCOL_TCP", { packets: 1n })
  // @ts-expect-error numbers of 64 bits are bigints
  yield* maps.stats.set("PROTOCOL_TCP", { packets: 1, bytes: 2n })
  // @ts-expect-error tries answer matches, not gets
  yield* maps.blocklist.get({ prefix_length: 32, address: new Uint8Array(4) })
  // @ts-expect-error a buffer has no keys
  yield* maps.events.get(0)
  // @ts-expect-error there is no such map
  yield* maps.flows.get(0)

  const kinds = yield* MapKinds.load()
  same<typeof kinds.maps.queue, Skeleton.QueueMap<MapKinds.__u64>>(true)
  // @ts-expect-error queues have no keys
  yield* kinds.maps.queue.get(0)
  // @ts-expect-error per-CPU maps have a value for each CPU
  yield* kinds.maps.percpu_hash.set(1, 4n)
  yield* kinds.maps.percpu_hash.set(1, [4n, 5n])

  const nested = yield* MapInMap.load()
  const inner = yield* nested.maps.array_of_maps.inner(0)
  same<typeof inner, Skeleton.ArrayMap<MapInMap.__u64> | undefined>(true)

  const { maps: events } = yield* TypedEvents.load()
  same<
    Stream.Success<ReturnType<typeof events.mixed.stream>>,
    TypedEvents.exec_event | TypedEvents.exit_event
  >(true)
  same<Stream.Success<ReturnType<typeof events.execs.stream>>, TypedEvents.exec_event>(true)
  const { send } = yield* events.requests.open
  yield* send({ number: 1, value: -1 })
  // @ts-expect-error requests have a number
  yield* send({ value: -1 })

  const before = yield* StructOps.open()
  before.maps.congestion.members.flags = 4
  before.maps.congestion.members.undo_cwnd = null
  // @ts-expect-error no program is called so
  before.maps.congestion.members.undo_cwnd = "restore"
  // @ts-expect-error a table has no members
  void (yield* Firewall.open()).maps.stats.members
  const { maps: structs } = yield* StructOps.load()
  yield* structs.congestion.attach
  // @ts-expect-error a struct of functions is no table
  yield* structs.congestion.get(0)
})

/** Programs, each by its kind. */
export const programs = Effect.gen(function*() {
  const { attach, globals, programs } = yield* Firewall.load()
  yield* programs.xdp_firewall.attach({ device: "eth0", mode: "generic" })
  yield* programs.xdp_firewall.attach({ device: 2 })
  // @ts-expect-error an XDP program is attached to a device
  yield* programs.xdp_firewall.attach()
  // @ts-expect-error and to no function of the kernel
  yield* programs.xdp_firewall.attach({ symbol: "do_unlinkat" })
  // @ts-expect-error no mode is called so
  yield* programs.xdp_firewall.attach({ device: 2, mode: "native" })
  // @ts-expect-error constants are constant
  globals.rodata.sample_every = 3
  globals.bss.totals = { packets: 0n, dropped: 0n, events_lost: 0n }
  const { links } = yield* attach({ except: ["stats"], overrides: { xdp_firewall: { device: 1 } } })
  same<typeof links.xdp_firewall, Skeleton.Link | undefined>(true)
  // @ts-expect-error there is no such program
  yield* attach({ except: ["firewall"] })
  // @ts-expect-error no target of an XDP program
  yield* attach({ overrides: { xdp_firewall: { category: "sched" } } })

  const { programs: kinds } = yield* SectionKinds.load()
  yield* kinds.kind_kprobe.attach()
  yield* kinds.kind_kprobe.attach({ symbol: "do_unlinkat", cookie: 3n })
  // @ts-expect-error cookies are bigints
  yield* kinds.kind_kprobe.attach({ cookie: 3 })
  // @ts-expect-error a kprobe has no device
  yield* kinds.kind_kprobe.attach({ device: 2 })
  yield* kinds.kind_uprobe.attach({ path: "/bin/sh" })
  yield* kinds.kind_perf_event.attach({ type: 1, config: 0n, frequency: 99n })
  // @ts-expect-error of what type?
  yield* kinds.kind_perf_event.attach({ frequency: 99n })
  yield* kinds.kind_tc.attach({ device: 2, direction: "ingress" })
  // @ts-expect-error in which direction?
  yield* kinds.kind_tc.attach({ device: 2 })
  yield* kinds.kind_tc_ingress.attach({ device: 2 })
  yield* kinds.kind_lsm_cgroup.attach({ path: "/sys/fs/cgroup" })
  // @ts-expect-error a program of a cgroup is attached to one
  yield* kinds.kind_lsm_cgroup.attach()
  // @ts-expect-error socket filters are not attached
  yield* kinds.kind_socket.attach()
  yield* kinds.kind_raw_tp.run({ context: [1n, 2n] })
  // @ts-expect-error arguments are bigints
  yield* kinds.kind_raw_tp.run({ context: [1, 2] })

  const { programs: probes } = yield* Usdt.load()
  yield* probes.any.attach({ path: "/bin/sh", provider: "a", name: "b" })
  // @ts-expect-error which probe?
  yield* probes.any.attach({ path: "/bin/sh" })
  yield* probes.named.attach({ pid: 0 })

  const { programs: runs } = yield* TestRun.load()
  const ran = yield* runs.add_in_context.run({ context: { first: 1n, second: 2n, sum: 0n } })
  same<typeof ran.context, TestRun.sum_context | undefined>(true)
  // @ts-expect-error contexts have a type
  yield* runs.add_in_context.run({ context: new Uint8Array(24) })
})

/** Variables. */
export const variables = Effect.gen(function*() {
  const { globals } = yield* GlobalData.open()
  const loaded = yield* GlobalData.load()
  same<typeof globals.rodata, GlobalData.Rodata>(true)
  same<typeof loaded.globals.rodata, Readonly<GlobalData.Rodata>>(true)
  same<typeof loaded.globals.data, GlobalData.Data>(true)
})
