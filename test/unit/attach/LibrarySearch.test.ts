import { assert, describe, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as BinaryFile from "../../../src/attach/BinaryFile.ts"
import * as FileSource from "../../../src/attach/FileSource.ts"
import type { Options } from "../../../src/attach/LibrarySearch.ts"
import * as LibrarySearch from "../../../src/attach/LibrarySearch.ts"
import * as Process from "../../../src/attach/Process.ts"
import * as LoaderCache from "../../../src/services/Elf/LoaderCache.ts"
import { temporaryFolder } from "../../support/Require.ts"

/** A folder with files, by their paths; those that end in `*` can be executed. */
const folderWith = (...paths: ReadonlyArray<string>): string => {
  const root = temporaryFolder()
  for (const each of paths) {
    const path = Path.join(root, each.replace(/\*$/, ""))
    Fs.mkdirSync(Path.dirname(path), { recursive: true })
    Fs.writeFileSync(path, "")
    Fs.chmodSync(path, each.endsWith("*") ? 0o755 : 0o644)
  }
  return root
}

const search = (name: string, options: Options) =>
  Effect.runSync(Effect.match(LibrarySearch.search(name, options), {
    onFailure: ({ _tag }): string => _tag,
    onSuccess: (path) => path
  }))

describe("libraries and programs by name", () => {
  it("are searched where libbpf searches them, in its order", () => {
    const root = folderWith(
      "own/libx.so",
      "usr/lib64/liby.so.1",
      "usr/lib/liby.so.1",
      "lib/aarch64-linux-gnu/libz.so",
      "bin1/tool",
      "bin2/tool*",
      "usr/sbin/other*"
    )
    const environment = { LD_LIBRARY_PATH: "/own::/nowhere", PATH: "/bin1:/bin2" }
    const found = (name: string) => search(name, { root, environment, architecture: "arm64" }).replace(root, "")
    assert.strictEqual(found("libx.so"), "/own/libx.so")
    assert.strictEqual(found("liby.so.1"), "/usr/lib64/liby.so.1")
    assert.strictEqual(found("libz.so"), "/lib/aarch64-linux-gnu/libz.so")
    // One that cannot be executed is passed over.
    assert.strictEqual(found("tool"), "/bin2/tool")
    assert.strictEqual(found("other"), "/usr/sbin/other")
    assert.strictEqual(found("libnone.so"), "LibraryNotFound")
    assert.strictEqual(found("none"), "LibraryNotFound")
    assert.strictEqual(found(""), "LibraryNotFound")
  })

  it("are not searched where there is a path, and folders are none", () => {
    const root = folderWith("usr/lib/folder.so/file")
    assert.strictEqual(search("/a b/c:d", {}), "/a b/c:d")
    assert.strictEqual(search("./x", {}), "./x")
    assert.strictEqual(search("folder.so", { root, environment: {} }), "LibraryNotFound")
  })

  it("say where they were searched", () => {
    const failure = Effect.runSync(Effect.flip(LibrarySearch.search("libnone.so", {
      environment: { LD_LIBRARY_PATH: "/own" },
      architecture: "x64",
      root: temporaryFolder()
    })))
    assert.deepStrictEqual(failure.folders, [
      "/own",
      "/usr/lib64",
      "/usr/lib",
      "/lib/x86_64-linux-gnu",
      "/usr/lib/x86_64-linux-gnu",
      "/etc/ld.so.cache"
    ])
  })

  /** A cache of today's format, behind entries of the old one if that is wanted. */
  const cache = (libraries: ReadonlyArray<readonly [string, string, number]>, old = 0): Uint8Array => {
    const start = old === 0 ? 0 : Math.ceil((16 + old * 12) / 8) * 8
    const strings = libraries.map(([name, path]) => `${name}\0${path}\0`).join("")
    const bytes = new Uint8Array(start + 48 + libraries.length * 24 + strings.length)
    const view = new DataView(bytes.buffer)
    const put = (at: number, text: string) => bytes.set(new TextEncoder().encode(text), at)
    if (old > 0) {
      put(0, "ld.so-1.7.0")
      view.setUint32(12, old, true)
    }
    put(start, "glibc-ld.so.cache1.1")
    view.setUint32(start + 20, libraries.length, true)
    let place = 48 + libraries.length * 24
    put(start + place, strings)
    libraries.forEach(([name, path, flags], index) => {
      const at = start + 48 + index * 24
      view.setInt32(at, flags, true)
      view.setUint32(at + 4, place, true)
      view.setUint32(at + 8, place + name.length + 1, true)
      place += name.length + path.length + 2
    })
    return bytes
  }

  it("are looked up in the dynamic linker's cache when no folder has them, those of the processor only", () => {
    const root = folderWith("opt/32/libq.so.2", "opt/64/libq.so.2", "etc/x")
    Fs.writeFileSync(
      Path.join(root, "etc/ld.so.cache"),
      cache([["libq.so.2", "/opt/32/libq.so.2", 0x0003], ["libq.so.2", "/opt/64/libq.so.2", 0x0303]])
    )
    const found = (architecture: string) =>
      search("libq.so.2", { root, environment: {}, architecture }).replace(root, "")
    assert.strictEqual(found("x64"), "/opt/64/libq.so.2")
    assert.strictEqual(found("ia32"), "/opt/32/libq.so.2")
    assert.strictEqual(found("arm64"), "LibraryNotFound")
  })

  it("are read from caches of both formats, and damaged ones give none or some", () => {
    const libraries = [["liba.so", "/a/liba.so", 3], ["libab.so", "/b/libab.so", 3]] as const
    for (const old of [0, 1, 5]) {
      const bytes = cache(libraries, old)
      assert.deepStrictEqual(LoaderCache.librariesNamed(bytes, "liba.so").map(({ path }) => path), ["/a/liba.so"])
      for (let length = 0; length < bytes.length; length++) {
        LoaderCache.librariesNamed(bytes.slice(0, length), "liba.so")
      }
      for (let at = 0; at < bytes.length; at++) {
        const copy = bytes.slice()
        copy[at] = 0xff
        LoaderCache.librariesNamed(copy, "liba.so")
      }
    }
    assert.deepStrictEqual(LoaderCache.librariesNamed(new Uint8Array(100), "liba.so"), [])
  })
})

describe("paths in another root", () => {
  it("follow links inside of it, and never out of it", () => {
    const root = folderWith("usr/lib/libc.so.6", "secret")
    Fs.symlinkSync("usr/lib", Path.join(root, "lib"))
    Fs.symlinkSync("/usr/lib/libc.so.6", Path.join(root, "absolute"))
    Fs.symlinkSync("../../../../secret", Path.join(root, "usr/above"))
    Fs.symlinkSync("loop", Path.join(root, "loop"))
    const inside = (path: string) => Process.insideRoot(root, path).replace(root, "")
    assert.strictEqual(inside("/lib/libc.so.6"), "/usr/lib/libc.so.6")
    assert.strictEqual(inside("/absolute"), "/usr/lib/libc.so.6")
    assert.strictEqual(inside("/usr/above"), "/secret")
    assert.strictEqual(inside("/../../etc/passwd"), "/etc/passwd")
    assert.strictEqual(inside("/usr/./lib//x"), "/usr/lib/x")
    assert.strictEqual(inside("/loop"), "/loop")
    assert.strictEqual(Process.insideRoot("", "/as/it/../is"), "/as/it/../is")
  })
})

describe("files as sources", () => {
  it("are read in parts, within their bounds", () => {
    const path = Path.join(temporaryFolder(), "a b:c")
    Fs.writeFileSync(path, "0123456789")
    const answer = Effect.runSync(Effect.scoped(Effect.map(FileSource.open(path), (source) => [
      source.size,
      source.read(3, 4),
      source.read(8, 3),
      source.read(-1, 1),
      source.read(0.5, 1)
    ])))
    assert.strictEqual(answer[0], 10)
    assert.deepStrictEqual(
      answer.slice(1).map((each) =>
        typeof each === "object" && "success" in each ? new TextDecoder().decode(each.success) : "refused"
      ),
      ["3456", "refused", "refused", "refused"]
    )
  })

  it("are refused where they are no files, and say so when they became shorter", () => {
    const folder = temporaryFolder()
    const reasonOf = (path: string) =>
      Effect.runSync(Effect.scoped(Effect.match(FileSource.open(path), {
        onFailure: ({ reason }) => reason,
        onSuccess: () => "open"
      })))
    assert.strictEqual(reasonOf(folder), "NotAFile")
    assert.strictEqual(reasonOf("/dev/zero"), "NotAFile")
    assert.strictEqual(reasonOf(Path.join(folder, "nothing")), "NotFound")
    const path = Path.join(folder, "file")
    Fs.writeFileSync(path, "0123456789")
    const read = Effect.runSync(Effect.scoped(Effect.map(FileSource.open(path), (source) => {
      Fs.truncateSync(path, 3)
      return source.read(0, 10)
    })))
    assert.isTrue("failure" in read && read.failure.reason === "Truncated")
  })

  it("are closed, whatever is asked of them", () => {
    const open = () => Fs.readdirSync("/proc/self/fd").length
    const before = open()
    for (let round = 0; round < 3; round++) {
      Effect.runSync(Effect.ignore(BinaryFile.functions(import.meta.filename, ["x"])))
      Effect.runSync(Effect.ignore(BinaryFile.functions(process.execPath, ["nowhere_at_all"])))
      Effect.runSync(Effect.ignore(Effect.scoped(BinaryFile.open(process.execPath))))
    }
    assert.strictEqual(open(), before)
  })
})
