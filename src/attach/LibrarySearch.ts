/**
 * Finds programs and libraries by their names alone, as a shell and the dynamic linker do: `libc.so.6`, `bash`.
 *
 * The order is libbpf's. The linker's cache is asked last; libbpf does not look at it.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Schema from "effect/Schema"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as LoaderCache from "../services/Elf/LoaderCache.ts"
import { insideRoot } from "./Process.ts"

/** There is no such program or library in the folders that were searched. */
export class LibraryNotFound extends Schema.TaggedError<LibraryNotFound>()("LibraryNotFound", {
  name: Schema.String,
  folders: Schema.Array(Schema.String)
}) {
  override get message(): string {
    return `${this.name}: not found in ${this.folders.join(", ")}; give its path`
  }
}

/** Where is searched. */
export interface Options {
  /** Environment variables, of which `LD_LIBRARY_PATH` and `PATH` are used; default this process's. */
  readonly environment?: Readonly<Record<string, string | undefined>>
  /** The processor, in Node's names; default this machine's. */
  readonly architecture?: string
  /** A folder in which all folders are searched: `/proc/PID/root` of a container; default none. */
  readonly root?: string
}

/** Debian's names of processors, as in its library folders, by Node's. */
const triplets: Readonly<Record<string, ReadonlyArray<string>>> = {
  x64: ["x86_64-linux-gnu"],
  arm64: ["aarch64-linux-gnu"],
  ia32: ["i386-linux-gnu"],
  s390x: ["s390x-linux-gnu"],
  arm: ["arm-linux-gnueabihf", "arm-linux-gnueabi"],
  ppc64: ["powerpc64le-linux-gnu"],
  riscv64: ["riscv64-linux-gnu"],
  loong64: ["loongarch64-linux-gnu"],
  mips: ["mips-linux-gnu"],
  mipsel: ["mipsel-linux-gnu"]
}

/** Kind and processor of a library in the cache, by Node's names: those of glibc's `ldconfig`. */
const cacheFlags: Readonly<Record<string, number>> = {
  x64: 0x0303,
  arm64: 0x0a03,
  ia32: 0x0003,
  s390x: 0x0403,
  ppc64: 0x0503,
  riscv64: 0x1003
}

/** Whether a name is that of a library: it ends with `.so`, or has a version behind that. */
export const isLibrary = (name: string): boolean => name.endsWith(".so") || name.includes(".so.")

const listed = (variable: string | undefined): ReadonlyArray<string> =>
  (variable ?? "").split(":").filter((folder) => folder !== "")

/** The folders in which a name is searched, in order. */
export const foldersFor = (name: string, options: Options = {}): ReadonlyArray<string> => {
  const { architecture = process.arch, environment = process.env } = options
  if (!isLibrary(name)) return [...listed(environment["PATH"]), "/usr/bin", "/usr/sbin"]
  const own = triplets[architecture] ?? []
  return [
    ...listed(environment["LD_LIBRARY_PATH"]),
    "/usr/lib64",
    "/usr/lib",
    ...own.flatMap((triplet) => [`/lib/${triplet}`, `/usr/lib/${triplet}`])
  ]
}

const isUsable = (path: string, mode: number): boolean => {
  const usable = Result.try(() => {
    Fs.accessSync(path, mode)
    return Fs.statSync(path).isFile()
  })
  return Result.isSuccess(usable) && usable.success
}

const cached = (name: string, root: string, architecture: string): ReadonlyArray<string> => {
  const read = Result.try(() => new Uint8Array(Fs.readFileSync(insideRoot(root, "/etc/ld.so.cache"))))
  if (Result.isFailure(read)) return []
  const flags = cacheFlags[architecture]
  return LoaderCache.librariesNamed(read.success, name, Os.endianness() === "LE")
    .filter((library) => flags === undefined || (library.flags & 0xffff) === flags)
    .map(({ path }) => path)
}

/**
 * The path of a program or library that is given by name; a path, which is what has a slash, is given back as it is. Of a
 * library it is the first that can be read in `$LD_LIBRARY_PATH`, `/usr/lib64`, `/usr/lib` and the folders of the processor,
 * or else what the dynamic linker's cache says; of a program the first that can be executed in `$PATH`, `/usr/bin` and
 * `/usr/sbin`. With a root the path begins with it.
 */
export const search = (name: string, options: Options = {}): Effect.Effect<string, LibraryNotFound> =>
  Effect.suspend(() => {
    const { architecture = process.arch, root = "" } = options
    if (name.includes("/")) return Effect.succeed(insideRoot(root, name))
    const folders = foldersFor(name, options)
    const mode = isLibrary(name) ? Fs.constants.R_OK : Fs.constants.R_OK | Fs.constants.X_OK
    for (const folder of folders) {
      const path = insideRoot(root, `${folder}/${name}`)
      if (isUsable(path, mode)) return Effect.succeed(path)
    }
    if (name === "" || !isLibrary(name)) return Effect.fail(new LibraryNotFound({ name, folders }))
    for (const path of cached(name, root, architecture)) {
      const inside = insideRoot(root, path)
      if (isUsable(inside, mode)) return Effect.succeed(inside)
    }
    return Effect.fail(new LibraryNotFound({ name, folders: [...folders, "/etc/ld.so.cache"] }))
  })
