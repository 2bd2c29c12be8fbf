import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Encode from "../../src/insn/Encode.ts"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import { Kernel, type Session } from "../../src/services/Kernel/Kernel.ts"
import type { KernelCall } from "../../src/services/Kernel/KernelCall.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as KernelRecording from "../../src/services/Kernel/KernelRecording.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Foreign from "../../src/services/Kernel/sys/Foreign.ts"
import { assemble } from "../../src/stages/gen/Assemble.ts"
import type { LoaderProgram } from "../../src/stages/gen/LoaderProgram.ts"
import { replay } from "../../src/stages/gen/Replay.ts"
import * as Execute from "../../src/stages/load/Execute.ts"
import * as LoadPlan from "../../src/stages/load/LoadPlan.ts"
import * as Plan from "../../src/stages/load/Plan.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Relocate from "../../src/stages/relocate/Relocate.ts"
import { inSession, liveSession, openDescriptors } from "../support/LiveKernel.ts"
import { describeWith, fixture, run } from "../support/Require.ts"
import { type LoaderRun, runLoader } from "../support/RunLoader.ts"

/** The plan of a fixture, for a kernel that nothing is known of. */
const planOf = (name: string): Effect.Effect<Plan.PlannedObject, unknown> =>
  Effect.gen(function*() {
    const object = yield* Effect.fromResult(Open.fromBytes(fixture(`${name}.bpf.o`), { path: `${name}.bpf.o` }))
    const { kernel } = yield* KernelRecording.make
    return yield* Effect.flatMap(Relocate.relocate.run(object), (relocated) => Plan.plan.run(relocated)).pipe(
      Effect.provideService(Kernel, kernel)
    )
  })

/** Closes what a run handed out to this process. */
const closePublished = ({ descriptors }: LoaderRun): void => {
  for (const fd of [...descriptors.maps, ...descriptors.programs]) if (fd > 0) Fs.closeSync(fd)
}

/** Runs a loader and closes what it published when the scope ends. */
const running = (session: Session, loader: LoaderProgram, options?: Parameters<typeof runLoader>[2]) =>
  Effect.acquireRelease(
    runLoader(session, loader, options),
    (published) => Effect.sync(() => closePublished(published))
  )

/** A program's instructions as the kernel has them, with names for the ids that differ between two loads. */
const xlated = (id: number, mapNames: ReadonlyMap<number, string>): string => {
  const { status, stderr, stdout } = run("bpftool", ["prog", "dump", "xlated", "id", String(id)])
  assert.strictEqual(status, 0, stderr)
  return stdout
    .replaceAll(/map\[id:(\d+)\]/g, (_, map: string) => `map[${mapNames.get(Number(map)) ?? map}]`)
    // Tags differ where a program refers to maps, see below.
    .replaceAll(/bpf_prog_[0-9a-f]{16}/g, "bpf_prog")
}

/** What the kernel says of the maps and programs of a load, by plan refs; ids become names. */
const said = Effect.fnUntraced(function*(
  session: Session,
  loader: LoaderProgram,
  maps: ReadonlyArray<Ref.MapRef>,
  programs: ReadonlyArray<Ref.ProgRef>
) {
  const names = new Map<number, string>()
  const ofMaps: Array<unknown> = []
  for (const [number, map] of maps.entries()) {
    const { btfId, id, ...info } = yield* session.call({ _tag: "MapGetInfo", map })
    names.set(id, info.name)
    const isData = loader.maps[number]?.initialValue !== undefined
    const contents = isData
      ? yield* session.call({ _tag: "MapLookup", map, key: new Uint8Array(4), valueSize: info.valueSize, flags: 0n })
      : undefined
    const value = { bytes: new Uint8Array(info.valueSize), refs: [] }
    const update = { _tag: "MapUpdate", map, key: new Uint8Array(4), value, flags: 2n } as const
    const frozen = isData && (yield* Effect.isFailure(session.call(update)))
    ofMaps.push({ ...info, hasBtf: btfId !== 0, contents, frozen })
  }
  const ofPrograms: Array<{ readonly tag: string; readonly mapIds: ReadonlyArray<string> }> = []
  for (const prog of programs) {
    const { btfId, id, jitedLength: _, loadTime: __, ...info } = yield* session.call({ _tag: "ProgGetInfo", prog })
    const mapIds = info.mapIds.map((map) => names.get(map) ?? "")
    const said = { ...info, mapIds, hasBtf: btfId !== 0, xlated: xlated(id, names) }
    ofPrograms.push(said)
  }
  return { maps: ofMaps, programs: ofPrograms }
})

/** A loader with nothing in its lists but what it hands out: it loads no more of its object. */
const handedOut = (loader: LoaderProgram): LoaderProgram => ({
  ...loader,
  maps: loader.maps.filter(({ published }) => published),
  programs: loader.programs.filter(({ published }) => published)
})

const adoptMap = (session: Session, fd: number): Effect.Effect<Ref.MapRef, unknown> =>
  Effect.map(
    session.adopt({ _tag: "Descriptor", kind: "Map", fd }),
    (ref) => ref._tag === "Map" ? ref : assert.fail("no map")
  )

const adoptProg = (session: Session, fd: number): Effect.Effect<Ref.ProgRef, unknown> =>
  Effect.map(
    session.adopt({ _tag: "Descriptor", kind: "Prog", fd }),
    (ref) => ref._tag === "Prog" ? ref : assert.fail("no program")
  )

/** The plan's calls that a loader makes. */
const recorded = (planned: Plan.PlannedObject): ReadonlyArray<KernelCall> =>
  LoadPlan.mainCalls(planned.plan).filter((call) => call._tag !== "ProgBindMap")

/** Calls among which number `at` fails in the kernel, and the error with which it does. */
const broken = (
  calls: ReadonlyArray<KernelCall>,
  at: number
): { readonly calls: ReadonlyArray<KernelCall>; readonly errno: Errno.Errno } => {
  const call = calls[at]
  const replace = (...by: ReadonlyArray<KernelCall>) => [...calls.slice(0, at), ...by, ...calls.slice(at + 1)]
  switch (call?._tag) {
    case "BtfLoad":
      return { calls: replace({ ...call, bytes: call.bytes.slice(0, 40) }), errno: "EINVAL" }
    case "MapCreate":
      return { calls: replace({ ...call, attr: { ...call.attr, type: 0x7fff } }), errno: "EINVAL" }
    case "MapUpdate":
      return { calls: replace({ ...call, flags: 99n }), errno: "EINVAL" }
    case "MapFreeze":
      // A frozen map cannot be written to, which freezing it again counts as.
      return { calls: replace(call, call), errno: "EPERM" }
    case "ProgLoad": {
      // R0 has no value.
      const { as, attr, log } = call
      const code = { insns: Encode.exit(), refs: [] }
      return { calls: replace({ _tag: "ProgLoad", as, attr, code, log }), errno: "EACCES" }
    }
    default:
      return assert.fail(`no way to break ${call?._tag}`)
  }
}

const assembled = (calls: ReadonlyArray<KernelCall>): LoaderProgram => Result.getOrThrow(assemble(calls))

// Beside all fixtures in Loaders.test.ts, those whose instructions bpftool shows: virtual machines take long to start it.
const fixtures = [
  "xdp_firewall",
  "global_data",
  "tracepoint",
  "subprograms",
  "test_run",
  "core_reads",
  "ksyms",
  "prog_array"
]

// bpftool finds programs by their identifiers, which is root's right.
describeWith({ kind: "live", tools: ["bpftool"], root: true }, "loaders on the live kernel", () => {
  it.live.each(fixtures)("%s: a loader makes what a direct load makes", (name) =>
    Effect.gen(function*() {
      const before = openDescriptors()
      yield* Effect.scoped(Effect.gen(function*() {
        const planned = yield* planOf(name)
        const recorded = yield* KernelRecording.record(planned)
        const session = yield* liveSession()
        const published = yield* running(session, recorded)
        const loader = handedOut(recorded)
        const live = yield* KernelLive.make
        const loaded = yield* Effect.result(Execute.toLoaded(planned).pipe(Effect.provideService(Kernel, live)))
        // What an older kernel does not take, it takes from no loader either.
        if (Result.isFailure(loaded)) return assert.isBelow(published.retval, 0, loaded.failure.message)
        const direct = loaded.success
        assert.strictEqual(published.retval, 0, Errno.fromNumber(-published.retval))
        const fds = (all: ReadonlyArray<number>) => all.filter((fd) => fd > 0)
        const maps = yield* Effect.forEach(fds(published.descriptors.maps), (fd) => adoptMap(session, fd))
        const programs = yield* Effect.forEach(fds(published.descriptors.programs), (fd) => adoptProg(session, fd))
        const ours = yield* said(session, loader, maps, programs)

        const theirs = yield* said(
          direct.session,
          loader,
          loader.maps.map(({ ref }) => Ref.map(ref)),
          loader.programs.map(({ ref }) => Ref.prog(ref))
        )
        assert.deepStrictEqual(ours.maps, theirs.maps)
        assert.isAbove(ours.programs.length, 0)
        // The kernel forgets a map's descriptor when it digests a program, but not its number in fd_array.
        const comparable = (each: (typeof ours.programs)[number]) =>
          each.mapIds.length === 0 ? each : { ...each, tag: "" }
        assert.deepStrictEqual(ours.programs.map(comparable), theirs.programs.map(comparable))
      }))
      assert.deepStrictEqual(openDescriptors(), before)
    }))

  it.live("keep the size and the initial value that the context asks for", () =>
    Effect.gen(function*() {
      const foreign = Result.getOrThrow(Foreign.load())
      const loader = yield* KernelRecording.record(yield* planOf("global_data"))
      const number = loader.maps.findIndex(({ name }) => name.endsWith(".rodata"))
      const size = loader.maps[number]?.initialValue?.size ?? 0
      const image = Uint8Array.from({ length: size }, (_, at) => at * 7)
      const options = { maps: new Map([[number, { initialValue: foreign.address(image.buffer) }]]) }
      yield* inSession(Effect.fnUntraced(function*(session) {
        const published = yield* running(session, loader, options)
        assert.strictEqual(published.retval, 0)
        const map = yield* adoptMap(session, published.descriptors.maps[number] ?? 0)
        const found = yield* session.call({
          _tag: "MapLookup",
          map,
          key: new Uint8Array(4),
          valueSize: size,
          flags: 0n
        })
        assert.deepStrictEqual(found, image)
      }))
      const firewall = yield* KernelRecording.record(yield* planOf("xdp_firewall"))
      const hash = firewall.maps.findIndex(({ name }) => name === "blocklist")
      yield* inSession(Effect.fnUntraced(function*(session) {
        const published = yield* running(session, firewall, { maps: new Map([[hash, { maxEntries: 77 }]]) })
        const map = yield* adoptMap(session, published.descriptors.maps[hash] ?? 0)
        assert.strictEqual((yield* session.call({ _tag: "MapGetInfo", map })).maxEntries, 77)
        assert.notStrictEqual(firewall.maps[hash]?.maxEntries, 77)
      }))
    }))

  it.live("end with EFAULT when the initial value cannot be read, and leave nothing open", () =>
    Effect.gen(function*() {
      const before = openDescriptors()
      const loader = yield* KernelRecording.record(yield* planOf("global_data"))
      const number = loader.maps.findIndex(({ initialValue }) => initialValue !== undefined)
      const published = yield* inSession((session) =>
        runLoader(session, loader, { maps: new Map([[number, { initialValue: 8n }]]) })
      )
      assert.strictEqual(published.retval, -Errno.numbers.EFAULT)
      assert.deepStrictEqual(openDescriptors(), before)
    }))

  it.live("hand the verifier's words to the log of the context", () =>
    Effect.gen(function*() {
      const foreign = Result.getOrThrow(Foreign.load())
      const calls = recorded(yield* planOf("xdp_firewall"))
      const { calls: bad } = broken(calls, calls.length - 1)
      const log = new Uint8Array(1 << 16)
      const published = yield* inSession((session) =>
        runLoader(session, assembled(bad), {
          log: { address: foreign.address(log.buffer), size: log.length, level: 1 }
        })
      )
      assert.strictEqual(published.retval, -Errno.numbers.EACCES)
      assert.match(new TextDecoder().decode(log), /R0 !read_ok/)
    }))

  it.live("close what the plan closes, and do not publish it", () =>
    Effect.gen(function*() {
      const before = openDescriptors()
      const calls = recorded(yield* planOf("subprograms"))
      const last = calls.findLast((call) => call._tag === "ProgLoad")
      const map = calls.find((call) => call._tag === "MapCreate")
      const btf = calls.find((call) => call._tag === "BtfLoad")
      if (last === undefined || map === undefined || btf === undefined) return assert.fail("the fixture has changed")
      const closing = [last.as, map.as, btf.as].map((ref): KernelCall => ({ _tag: "Close", ref }))
      const loader = assembled([...calls, ...closing])
      const published = yield* inSession((session) => runLoader(session, loader))
      assert.strictEqual(published.retval, 0)
      const { maps, programs } = published.descriptors
      assert.deepStrictEqual(maps.map((fd) => fd > 0), loader.maps.map((_, number) => number !== 0))
      assert.deepStrictEqual(
        programs.map((fd) => fd > 0),
        loader.programs.map((_, n) => n !== loader.programs.length - 1)
      )
      assert.strictEqual(
        openDescriptors().length - before.length,
        [...maps, ...programs].filter((fd) => fd > 0).length
      )
      closePublished(published)
      assert.deepStrictEqual(openDescriptors(), before)
    }))

  it.live.each(["xdp_firewall", "global_data", "tracepoint", "subprograms"])(
    "%s: replayed on the live kernel, a loader makes what a direct load makes, tags included",
    (name) =>
      Effect.gen(function*() {
        const before = openDescriptors()
        yield* Effect.scoped(Effect.gen(function*() {
          const planned = yield* planOf(name)
          const recorded = yield* KernelRecording.record(planned)
          const loader = handedOut(recorded)
          const live = yield* KernelLive.make
          const session = yield* live.session()
          const { leaked, retval, strayCloses } = yield* replay(recorded, session)
          assert.deepStrictEqual({ leaked, retval, strayCloses }, { leaked: [], retval: 0, strayCloses: 0 })
          const direct = yield* Execute.toLoaded(planned).pipe(Effect.provideService(Kernel, live))
          const refs = [
            loader.maps.map(({ ref }) => Ref.map(ref)),
            loader.programs.map(({ ref }) => Ref.prog(ref))
          ] as const
          assert.deepStrictEqual(yield* said(session, loader, ...refs), yield* said(direct.session, loader, ...refs))
        }))
        assert.deepStrictEqual(openDescriptors(), before)
      })
  )

  it.live("may be long: failures far from the cleanup reach it, and 100 programs are closed", () =>
    Effect.gen(function*() {
      const before = openDescriptors()
      const attr = { name: "m", type: 2, keySize: 4, valueSize: 4, maxEntries: 8, flags: 0, numaNode: 0, ifindex: 0 }
      const update = (flags: bigint, key = 0): KernelCall => ({
        _tag: "MapUpdate",
        map: Ref.map(0),
        key: Uint8Array.of(key % 8, 0, 0, 0),
        value: { bytes: Uint8Array.of(key, key >> 8, 0, 0), refs: [] },
        flags
      })
      const program = (index: number): KernelCall => ({
        _tag: "ProgLoad",
        as: Ref.prog(index),
        attr: {
          name: "p",
          type: 1,
          expectedAttachType: 0,
          license: "GPL",
          kernelVersion: 0,
          flags: 0,
          ifindex: 0
        },
        code: { insns: Encode.program(Encode.mov64Imm(0, index), Encode.exit()), refs: [] },
        log: { level: 0 }
      })
      const calls: ReadonlyArray<KernelCall> = [
        { _tag: "MapCreate", as: Ref.map(0), attr: { ...attr, extra: 0n } },
        ...Array.from({ length: 2500 }, (_, at) => update(0n, at)),
        ...Array.from({ length: 100 }, (_, at) => program(at))
      ]
      const good = assembled(calls)
      assert.isAbove(good.insns.length / 8, 0x8000)
      const published = yield* inSession((session) => runLoader(session, good))
      assert.strictEqual(published.retval, 0, Errno.fromNumber(-published.retval))
      assert.strictEqual(openDescriptors().length, before.length + 101)
      closePublished(published)
      const failed = yield* inSession((session) => runLoader(session, assembled([...calls, update(99n)])))
      assert.strictEqual(failed.retval, -Errno.numbers.EINVAL)
      assert.deepStrictEqual(openDescriptors(), before)
    }))

  it.live("may print: the kernel takes them, and they do the same", () =>
    Effect.gen(function*() {
      const before = openDescriptors()
      for (const name of ["ksyms", "map_in_map"]) {
        const planned = yield* planOf(name)
        const retvals: Array<number> = []
        for (const logLevel of [0, 1]) {
          const loader = yield* KernelRecording.record(planned, { logLevel })
          const published = yield* inSession((session) => runLoader(session, loader))
          retvals.push(published.retval)
          closePublished(published)
          assert.deepStrictEqual(openDescriptors(), before)
        }
        assert.strictEqual(retvals[1], retvals[0], name)
      }
    }))

  it.live("end with ENOENT where the kernel lacks what they look up, with nothing open, modules' types included", () =>
    Effect.gen(function*() {
      const before = openDescriptors()
      const calls = recorded(yield* planOf("ksyms"))
      const lacking = calls.map((call): KernelCall => {
        if (call._tag !== "ProgLoad") return call
        const last = call.code.refs.findLast((ref) => ref._tag === "SymbolRef")
        const refs = call.code.refs.map((ref) =>
          ref === last && ref._tag === "SymbolRef"
            ? { ...ref, symbol: { ...ref.symbol, name: "there_is_no_such_symbol", weak: false } }
            : ref
        )
        return { ...call, code: { ...call.code, refs } }
      })
      const published = yield* inSession((session) => runLoader(session, assembled(lacking)))
      assert.strictEqual(published.retval, -Errno.numbers.ENOENT)
      assert.deepStrictEqual(openDescriptors(), before)
    }))

  it.live("named fault: a loader whose cleanup forgets a map leaves it open", () =>
    Effect.gen(function*() {
      const before = openDescriptors()
      const calls = recorded(yield* planOf("xdp_firewall"))
      const good = assembled(broken(calls, calls.length - 1).calls)
      // The cleanup reads the descriptor of the first map from the start of the data: let it read an empty slot.
      const insns = new Uint8Array(good.insns)
      const words = 2 + good.programs.length
      const first = 7 + 3 * words
      new DataView(insns.buffer).setInt32((first + 1) * 8 + 4, 4 * 63, true)
      yield* inSession((session) => runLoader(session, { ...good, insns }))
      const leaked = openDescriptors().filter((fd) => !before.includes(fd))
      for (const fd of leaked) Fs.closeSync(fd)
      assert.strictEqual(leaked.length, 1)
    }))
})

// Older kernels look at whether a map is in use before they look at rights, when it is frozen.
describeWith({ kind: "live", linux: "6.12", root: true }, "loaders that fail on the live kernel", () => {
  it.live.each(["xdp_firewall", "global_data", "subprograms"])(
    "%s: whichever call fails, its error is returned, nothing is published, and nothing stays open",
    (name) =>
      Effect.gen(function*() {
        const before = openDescriptors()
        const calls = recorded(yield* planOf(name))
        for (const at of calls.keys()) {
          const { calls: bad, errno } = broken(calls, at)
          const published = yield* inSession((session) => runLoader(session, assembled(bad)))
          assert.strictEqual(published.retval, -Errno.numbers[errno], `${at}: ${calls[at]?._tag}`)
          assert.isTrue([...published.descriptors.maps, ...published.descriptors.programs].every((fd) => fd === 0))
          assert.deepStrictEqual(openDescriptors(), before, `${at}: ${calls[at]?._tag}`)
        }
      })
  )
})
