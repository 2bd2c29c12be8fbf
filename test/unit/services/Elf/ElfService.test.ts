import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import { assert, describe, it } from "@effect/vitest"
import * as ByteSize from "effect/ByteSize"
import * as Effect from "effect/Effect"
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import * as Option from "effect/Option"
import * as PlatformError from "effect/PlatformError"
import * as Fs from "node:fs"
import * as Path from "node:path"
import { Elf, FileReadError } from "../../../../src/services/Elf/ElfService.ts"
import { temporaryFolder } from "../../../support/Require.ts"
import { sampleBytes } from "./sample.ts"

const open = (path: string) => Effect.flatMap(Elf, (elf) => elf.open(path))

const onNode = Layer.provide(Elf.layer, NodeFileSystem.layer)

const info = (fields: Partial<FileSystem.File.Info>): FileSystem.File.Info => ({
  type: "File",
  mtime: Option.none(),
  atime: Option.none(),
  birthtime: Option.none(),
  dev: 0n,
  ino: Option.none(),
  mode: 0o644,
  nlink: Option.none(),
  uid: Option.none(),
  gid: Option.none(),
  rdev: Option.none(),
  size: ByteSize.bytes(1),
  blksize: Option.none(),
  blocks: Option.none(),
  ...fields
})

const fake = (stat: Effect.Effect<FileSystem.File.Info, PlatformError.PlatformError>, bytes?: Uint8Array) =>
  Layer.provide(
    Elf.layer,
    FileSystem.layerNoop({
      stat: () => stat,
      ...(bytes === undefined ? {} : { readFile: () => Effect.succeed(bytes) })
    })
  )

const systemError = (tag: PlatformError.SystemErrorTag) =>
  Effect.fail(PlatformError.systemError({ _tag: tag, module: "FileSystem", method: "stat" }))

describe("Elf.open", () => {
  it.effect("opens a file of the host", () =>
    Effect.gen(function*() {
      const path = Path.join(temporaryFolder(), "sample.o")
      Fs.writeFileSync(path, sampleBytes())
      const file = yield* open(path)
      assert.strictEqual(file.symbols?.count, 6)
    }).pipe(Effect.provide(onNode)))

  it.effect("opens a file of any other file system", () =>
    Effect.gen(function*() {
      const file = yield* open("memory:sample.o")
      assert.strictEqual(file.sections.length, 6)
    }).pipe(Effect.provide(fake(Effect.succeed(info({})), sampleBytes("big")))))

  it.effect("fails with the error of parse", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(open("x"))
      assert.deepInclude(error, { _tag: "ElfError", reason: "NotElf" })
    }).pipe(Effect.provide(fake(Effect.succeed(info({})), new Uint8Array(4)))))

  it.effect("tells an absent file and a folder of the host apart", () =>
    Effect.gen(function*() {
      const folder = temporaryFolder()
      const absent = yield* Effect.flip(open(Path.join(folder, "absent.o")))
      assert.deepInclude(absent, { _tag: "FileReadError", reason: "NotFound", path: Path.join(folder, "absent.o") })
      assert.match(absent.message, /absent\.o: no such file/)
      const directory = yield* Effect.flip(open(folder))
      assert.deepInclude(directory, { _tag: "FileReadError", reason: "NotAFile", detail: "Directory" })
    }).pipe(Effect.provide(onNode)))

  it.effect("refuses a device", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(open("/dev/zero"))
      assert.deepInclude(error, { reason: "NotAFile" })
    }).pipe(Effect.provide(onNode)))

  it.effect("refuses a huge file unread", () =>
    Effect.gen(function*() {
      const error = yield* Effect.flip(open("huge"))
      assert.deepEqual(error, new FileReadError({ path: "huge", reason: "TooLarge", size: 2 ** 30 + 1 }))
    }).pipe(Effect.provide(fake(Effect.succeed(info({ size: ByteSize.bytes(2 ** 30 + 1) }))))))

  it.effect("keeps what the file system says", () =>
    Effect.gen(function*() {
      const denied = yield* Effect.flip(open("x")).pipe(Effect.provide(fake(systemError("PermissionDenied"))))
      assert.deepInclude(denied, { reason: "PermissionDenied" })
      const busy = yield* Effect.flip(open("x")).pipe(Effect.provide(fake(systemError("Busy"))))
      assert.deepInclude(busy, { reason: "Io" })
      assert.match(busy.message, /Busy/)
    }))
})
