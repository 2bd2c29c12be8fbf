/** Maps that objects share by their pins, where something else is than there should be. */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { Command, MapFlag, MapType } from "../../src/services/Kernel/abi/BpfConstants.ts"
import * as Errno from "../../src/services/Kernel/abi/Errno.ts"
import { KernelError } from "../../src/services/Kernel/KernelError.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import * as FdInfo from "../../src/services/Kernel/live/FdInfo.ts"
import * as Facts from "../../src/services/Kernel/live/Facts.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import * as Sys from "../../src/services/Kernel/sys/Sys.ts"
import { PinnedMapError } from "../../src/stages/load/PinnedMap.ts"
import * as Edit from "../../src/stages/open/Edit.ts"
import { liveSession, mapCreate, openDescriptors, progLoad, returning } from "../support/LiveKernel.ts"
import { type EditOf, loadFixture } from "../support/LoadFixture.ts"
import { bpffs, describeWith, temporaryFolder } from "../support/Require.ts"

const name = "xdp_firewall.bpf.o"

const pinnedAt = (path: string): EditOf => (object) => Edit.setMap(object, "stats", { pinPath: path })

const failure = (path: string) =>
  Effect.gen(function*() {
    const before = openDescriptors()
    const error = yield* Effect.flip(Effect.scoped(loadFixture(name, { edits: [pinnedAt(path)] })))
    assert.deepStrictEqual(openDescriptors(), before)
    return error
  })

const kernelFailure = (path: string) =>
  Effect.map(failure(path), (error) => error instanceof KernelError ? error : assert.fail(String(error)))

/** The running kernel as one that does not know how to tell of objects. */
const withoutInfos = (): ReturnType<typeof KernelLive.fromParts> => {
  const sys = Result.map(Sys.make(), (real): Sys.Sys => ({
    ...real,
    bpf: (command, arena) =>
      command === Command.BPF_OBJ_GET_INFO_BY_FD ? -Errno.numbers.EINVAL : real.bpf(command, arena)
  }))
  return KernelLive.fromParts({ sys: () => sys, facts: Facts.make(() => sys), architecture: process.arch })
}

describeWith({ kind: "live" }, "maps that are shared by a pin", () => {
  it.live("are made in a folder that is made for them, and only one", () =>
    Effect.scoped(Effect.gen(function*() {
      const folder = Path.join(bpffs(), "made")
      yield* Effect.scoped(loadFixture(name, { edits: [pinnedAt(Path.join(folder, "stats"))] }))
      assert.strictEqual(Fs.statSync(folder).mode & 0o777, 0o700)
      assert.isTrue(Fs.existsSync(Path.join(folder, "stats")))
      const deep = yield* kernelFailure(Path.join(bpffs(), "not", "made", "stats"))
      assert.strictEqual(deep.errno, "ENOENT")
      assert.match(deep.hint ?? "", /folder/)
      assert.isFalse(Fs.existsSync(Path.join(bpffs(), "not")))
    })))

  it.live("are refused outside of a bpf file system, where nothing is left behind", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const nowhere = yield* kernelFailure(Path.join(folder, "stats"))
      assert.deepStrictEqual([nowhere.call, nowhere.errno], ["ObjPin", "EINVAL"])
      assert.match(nowhere.hint ?? "", /mount -t bpf bpf \/sys\/fs\/bpf/)
      assert.deepStrictEqual(Fs.readdirSync(folder), [])
      Fs.writeFileSync(Path.join(folder, "file"), "no map")
      const file = yield* kernelFailure(Path.join(folder, "file"))
      assert.strictEqual(file.call, "ObjGet")
      assert.match(file.hint ?? "", /no pin|not a BPF object/)
    }))

  it.live("are refused where a program is pinned, and where dots are in the name", () =>
    Effect.scoped(Effect.gen(function*() {
      const session = yield* liveSession()
      yield* session.call(progLoad(0, returning(0)))
      const path = Path.join(bpffs(), "is_a_program")
      yield* session.call({ _tag: "ObjPin", object: Ref.prog(0), path })
      const error = yield* failure(path)
      if (!(error instanceof PinnedMapError)) return assert.fail(String(error))
      assert.strictEqual(error.path, path)
      assert.match(error.message, /it is no map: a program or a link is pinned there\nhint: remove the pin/)
      const dotted = yield* kernelFailure(Path.join(bpffs(), "st.ats"))
      assert.deepStrictEqual([dotted.call, dotted.errno], ["ObjGet", "EPERM"])
      assert.match(dotted.hint ?? "", /dots/)
    })))

  it.live("keep what is in them, and are not sealed again, when they are used once more", () =>
    Effect.scoped(Effect.gen(function*() {
      const path = Path.join(bpffs(), "rodata")
      const edits: ReadonlyArray<EditOf> = [(object) => Edit.setMap(object, ".rodata", { pinPath: path })]
      const first = yield* loadFixture(name, { edits })
      const second = yield* loadFixture(name, {
        edits: [...edits, (object) => Edit.setVariable(object, "blocked_ports", [1, 2, 3])]
      })
      const id = (loaded: typeof first) =>
        Effect.map(
          loaded.session.call({ _tag: "MapGetInfo", map: loaded.map(".rodata") ?? assert.fail() }),
          (info) => info.id
        )
      assert.strictEqual(yield* id(first), yield* id(second))
      const prog = second.program("xdp_firewall") ?? assert.fail()
      assert.include((yield* second.session.call({ _tag: "ProgGetInfo", prog })).mapIds, yield* id(first))
      const read = (loaded: typeof first) =>
        loaded.session.call({
          _tag: "MapLookup",
          map: loaded.map(".rodata") ?? assert.fail(),
          key: new Uint8Array(4),
          valueSize: loaded.object.maps.find(({ origin }) => origin === "Rodata")?.attr.valueSize ?? 0,
          flags: 0n
        })
      // The initial value of whoever came first.
      assert.deepStrictEqual(yield* read(second), yield* read(first))
    })))

  it.live("that user space may only read are found again, though the kernel does not tell so", () =>
    Effect.scoped(Effect.gen(function*() {
      const path = Path.join(bpffs(), "read_only")
      const edits: ReadonlyArray<EditOf> = [
        pinnedAt(path),
        (object) => Edit.setMap(object, "stats", { flags: MapFlag.BPF_F_RDONLY })
      ]
      yield* loadFixture(name, { edits })
      const again = yield* loadFixture(name, { edits })
      assert.isDefined(again.map("stats"))
    })))

  it.live("are told by procfs on kernels whose infos say nothing", () =>
    Effect.scoped(Effect.gen(function*() {
      const attr = {
        name: "told",
        type: MapType.BPF_MAP_TYPE_BLOOM_FILTER,
        keySize: 0,
        maxEntries: 9,
        flags: MapFlag.BPF_F_ZERO_SEED,
        extra: 3n
      }
      const session = yield* liveSession()
      const before = new Set(openDescriptors())
      yield* session.call(mapCreate(0, attr))
      const fd = openDescriptors().find((each) => !before.has(each)) ?? assert.fail()
      const info = yield* session.call({ _tag: "MapGetInfo", map: Ref.map(0) })
      assert.deepStrictEqual(FdInfo.infoOfMap(fd), { ...info, name: "" })
      assert.strictEqual(FdInfo.infoOfMap(fd, () => new Map([["map_type", "two"]])), undefined)

      const old = withoutInfos()
      const path = Path.join(bpffs(), "old")
      const load = loadFixture(name, { kernel: old, edits: [pinnedAt(path)] })
      yield* load
      const again = yield* load
      const map = again.map("stats") ?? assert.fail()
      assert.strictEqual((yield* again.session.call({ _tag: "MapGetInfo", map })).maxEntries, 16)
      const other = yield* Effect.flip(loadFixture(name, {
        kernel: old,
        edits: [pinnedAt(path), (object) => Edit.setMap(object, "stats", { maxEntries: 17 })]
      }))
      if (!(other instanceof PinnedMapError)) return assert.fail(String(other))
      assert.deepStrictEqual(other.differences, ["max_entries is 16, the object wants 17"])
    })))
})
