import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import type { Session } from "../../src/services/Kernel/Kernel.ts"
import type { ObjGet, ObjPin } from "../../src/services/Kernel/KernelCall.ts"
import { RefError } from "../../src/services/Kernel/KernelError.ts"
import * as Ref from "../../src/services/Kernel/Ref.ts"
import {
  inSession,
  kernelError,
  mapCreate,
  openDescriptors,
  progLoad,
  returning,
  testRun,
  u32,
  u64
} from "../support/LiveKernel.ts"
import { bpffs, describeWith, temporaryFolder } from "../support/Require.ts"

const pin = (object: ObjPin["object"], path: string): ObjPin => ({ _tag: "ObjPin", object, path })

const get = (as: ObjGet["as"], path: string): ObjGet => ({ _tag: "ObjGet", as, path })

/** A session with a map and a program in it. */
const withObjects = <A, E>(body: (session: Session) => Effect.Effect<A, E>) =>
  inSession((session) =>
    Effect.gen(function*() {
      yield* session.call(mapCreate(0, { name: "pinned" }))
      yield* session.call(progLoad(0, returning(5)))
      return yield* body(session)
    })
  )

describeWith({ kind: "live" }, "pins of the live kernel", () => {
  it.live("are undone when their session closes, and kept when it was committed", () =>
    Effect.gen(function*() {
      const [undone, kept] = [Path.join(bpffs(), "undone"), Path.join(bpffs(), "kept")]
      yield* withObjects((session) =>
        Effect.gen(function*() {
          yield* session.call(pin(Ref.map(0), undone))
          assert.isTrue(Fs.existsSync(undone))
        })
      )
      assert.isFalse(Fs.existsSync(undone))
      yield* withObjects((session) =>
        Effect.gen(function*() {
          yield* session.call(pin(Ref.map(0), kept))
          yield* session.call(pin(Ref.prog(0), `${kept}_prog`))
          yield* session.commit
        })
      )
      assert.isTrue(Fs.existsSync(kept))
      yield* inSession(Effect.fnUntraced(function*(session) {
        yield* session.call(get(Ref.map(7), kept))
        yield* session.call(get(Ref.prog(7), `${kept}_prog`))
        const info = yield* session.call({ _tag: "MapGetInfo", map: Ref.map(7) })
        assert.strictEqual(info.name, "pinned")
        // The sizes of the map's elements were found out when it was opened.
        const update = {
          _tag: "MapUpdate",
          map: Ref.map(7),
          key: u32(1),
          value: { bytes: u64(9n), refs: [] },
          flags: 0n
        } as const
        yield* session.call(update)
        const wrong = yield* kernelError(session.call({ ...update, key: new Uint8Array(5) }))
        assert.strictEqual(wrong.errno, "EINVAL")
        assert.strictEqual((yield* session.call(testRun(7))).retval, 5)
      }))
    }))

  it.live("are taken away by a call, which touches nothing outside of bpf file systems", () =>
    withObjects((session) =>
      Effect.gen(function*() {
        const path = Path.join(bpffs(), "taken_away")
        yield* session.call(pin(Ref.map(0), path))
        assert.strictEqual((yield* kernelError(session.call({ _tag: "ObjUnpin", path }))).errno, "EBUSY")
        yield* session.commit
        yield* session.call({ _tag: "ObjUnpin", path })
        assert.isFalse(Fs.existsSync(path))
        assert.strictEqual((yield* kernelError(session.call({ _tag: "ObjUnpin", path }))).errno, "ENOENT")
        assert.strictEqual((yield* kernelError(session.call({ _tag: "ObjUnpin", path: bpffs() }))).call, "ObjUnpin")
        const file = Path.join(temporaryFolder(), "no_pin")
        Fs.writeFileSync(file, "kept")
        const elsewhere = yield* kernelError(session.call({ _tag: "ObjUnpin", path: file }))
        assert.match(elsewhere.hint ?? "", /bpf file system/)
        assert.isTrue(Fs.existsSync(file))
      })
    ))

  it.live("keep what they name alive, and are the same object for all who open them", () =>
    withObjects((session) =>
      Effect.gen(function*() {
        const path = Path.join(bpffs(), "shared")
        yield* session.call(pin(Ref.map(0), path))
        yield* inSession((other) =>
          Effect.gen(function*() {
            yield* other.call(get(Ref.map(0), path))
            yield* other.call({
              _tag: "MapUpdate",
              map: Ref.map(0),
              key: u32(3),
              value: { bytes: u64(33n), refs: [] },
              flags: 0n
            })
          })
        )
        const found = yield* session.call({ _tag: "MapLookup", map: Ref.map(0), key: u32(3), valueSize: 8, flags: 0n })
        assert.deepStrictEqual(found, u64(33n))
      })
    ))

  it.live("may make the last folder of their path, and take it away again", () =>
    Effect.gen(function*() {
      const folder = Path.join(bpffs(), "made")
      yield* withObjects((session) => session.call(pin(Ref.map(0), Path.join(folder, "m"))))
      assert.isFalse(Fs.existsSync(folder))
      Fs.mkdirSync(folder)
      yield* withObjects((session) => session.call(pin(Ref.map(0), Path.join(folder, "m"))))
      assert.isTrue(Fs.existsSync(folder), "a folder that was there stays")
      const error = yield* withObjects((session) =>
        kernelError(session.call(pin(Ref.map(0), Path.join(folder, "not", "there", "m"))))
      )
      assert.strictEqual(error.errno, "ENOENT")
      assert.isFalse(Fs.existsSync(Path.join(folder, "not")))
    }))

  it.live("leave no folder behind when pinning fails", () =>
    Effect.gen(function*() {
      const folder = Path.join(bpffs(), "unused")
      // A bpf file system takes no dots in names.
      const error = yield* withObjects((session) =>
        kernelError(session.call(pin(Ref.map(0), Path.join(folder, "a.b"))))
      )
      assert.strictEqual(error.errno, "EPERM")
      assert.match(error.hint ?? "", /no dots/)
      assert.isFalse(Fs.existsSync(folder))
    }))

  it.live("are made in a bpf file system only, and nothing is created elsewhere", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      for (const path of [Path.join(folder, "m"), Path.join(folder, "new", "m")]) {
        const error = yield* withObjects((session) => kernelError(session.call(pin(Ref.map(0), path))))
        assert.strictEqual(error.errno, "EINVAL")
        assert.match(error.hint ?? "", /mount -t bpf bpf/)
      }
      assert.deepStrictEqual(Fs.readdirSync(folder), [])
    }))

  it.live("are not overwritten, and their paths are taken literally", () =>
    withObjects((session) =>
      Effect.gen(function*() {
        const path = Path.join(bpffs(), "taken")
        yield* session.call(pin(Ref.map(0), path))
        const taken = yield* kernelError(session.call(pin(Ref.prog(0), path)))
        assert.strictEqual(taken.errno, "EEXIST")
        assert.match(taken.hint ?? "", /pinned at this path already/)
        for (const bad of ["", `${path}\0x`]) {
          assert.strictEqual((yield* kernelError(session.call(pin(Ref.map(0), bad)))).errno, "EINVAL")
          assert.strictEqual((yield* kernelError(session.call(get(Ref.map(1), bad)))).errno, "EINVAL")
        }
        const relative = Path.relative(process.cwd(), `${path}_2`)
        yield* session.call(pin(Ref.map(0), relative))
        assert.isTrue(Fs.existsSync(`${path}_2`))
      })
    ))

  it.live("of another kind are refused, and their descriptor is closed", () =>
    withObjects((session) =>
      Effect.gen(function*() {
        const path = Path.join(bpffs(), "a_prog")
        yield* session.call(pin(Ref.prog(0), path))
        const before = openDescriptors().length
        const error = yield* Effect.flip(session.call(get(Ref.map(9), path)))
        if (!(error instanceof RefError)) return assert.fail(String(error))
        assert.strictEqual(error.reason, "WrongKind")
        assert.strictEqual(error.ref, "map#9")
        assert.strictEqual(openDescriptors().length, before)
        assert.isFalse(session.exists(Ref.map(9)))
      })
    ))

  it.live("that are not there, or no pins, are said to be so", () =>
    inSession(Effect.fnUntraced(function*(session) {
      const missing = yield* kernelError(session.call(get(Ref.map(0), Path.join(bpffs(), "missing"))))
      assert.strictEqual(missing.errno, "ENOENT")
      assert.match(missing.hint ?? "", /nothing is pinned/)
      const file = Path.join(temporaryFolder(), "file")
      Fs.writeFileSync(file, "")
      const plain = yield* kernelError(session.call(get(Ref.map(0), file)))
      assert.strictEqual(plain.errno, "EACCES")
      assert.match(plain.hint ?? "", /no pin/)
    })))
})
