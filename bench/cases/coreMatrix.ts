/**
 * The matrix of `core check` beside libbpf: 50 objects on 20 kernels.
 *
 * libbpf opens each object for each kernel (`btf_custom_path`) and loads it, one pair after another in one process; the time
 * inside bpf(2) is taken off, so that what is left is opening, reading the kernel's types and relocating. Ours opens the
 * objects, reads the kernels and makes the matrix with its findings and histories, anew each time and on one thread, too. The
 * last row is the built command as a whole process, Node's start and all threads included.
 *
 * The kernels are the running one, Debian's 6.1 and 6.12 where they are there, and variants of those; the objects are those
 * of the corpus that do CO-RE, or else the fixtures and small ones.
 */
import * as ChildProcess from "node:child_process"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Btf from "../../src/btf/Btf.ts"
import { matrix } from "../../src/cli/Core.ts"
import * as Inputs from "../../src/cli/core/Inputs.ts"
import * as Open from "../../src/stages/open/Open.ts"
import { objects as smallObjects } from "../../test/support/CoreObjects.ts"
import * as Variants from "../../test/support/KernelVariants.ts"
import { allFixtures, corpus, kernelsFolder, repository } from "../../test/support/Require.ts"
import type { Case } from "../Harness.ts"
import { libbpfPeer } from "../Peers.ts"

const OBJECTS = 50
const KERNELS = 20

const work = Path.join(repository, ".cache/bench/matrix")

/** The command as it is shipped. */
const bundle = (): string => {
  const folder = Path.join(repository, ".cache/bench/command")
  const tool = Path.join(repository, "tools/bundle.mjs")
  const done = ChildProcess.spawnSync(process.execPath, [tool, Path.join(repository, "src/bin.ts"), folder], {
    encoding: "utf8"
  })
  if (done.status !== 0) throw new Error(`${tool}: ${done.stderr}`)
  return Path.join(folder, "effect-bpf.js")
}

/** Whether an object opens and has CO-RE relocations; libbpf refuses to open what has programs of no known section. */
const doesCore = (path: string): boolean => {
  const object = Open.fromBytes(new Uint8Array(Fs.readFileSync(path)), { path })
  return Result.isSuccess(object) && (object.success.btfExt?.coreRelocations?.sections.length ?? 0) > 0
}

const written = (name: string, bytes: Uint8Array): string => {
  const path = Path.join(work, name)
  Fs.writeFileSync(path, bytes)
  return path
}

const objectPaths = (): ReadonlyArray<string> => {
  const real = corpus().filter((path) => path.endsWith(".o")).filter(doesCore)
  // Not one next to the other: neighbours in the corpus are often variants of one test.
  const step = Math.max(1, Math.floor(real.length / OBJECTS))
  const spread = real.filter((_, position) => position % step === 0)
  const fixtures = allFixtures().filter((name) => name.endsWith(".bpf.o"))
    .map((name) => Path.join(repository, "test/fixtures", name)).filter(doesCore)
  const small = smallObjects.map(({ bytes, name }) => written(`${name}.bpf.o`, bytes))
  const again = fixtures.map((path) => written(`again-${Path.basename(path)}`, new Uint8Array(Fs.readFileSync(path))))
  return [...spread, ...fixtures, ...small, ...again].slice(0, OBJECTS)
}

const kernelPaths = (): ReadonlyArray<string> => {
  const given = [
    "/sys/kernel/btf/vmlinux",
    ...(Fs.existsSync(kernelsFolder)
      ? Fs.readdirSync(kernelsFolder).filter((name) => name.endsWith(".btf")).sort()
      : [])
      .map((name) => Path.join(kernelsFolder, name))
  ].filter((path) => Fs.existsSync(path))
  const parsed = given.map((path) => Result.getOrThrow(Btf.parse(new Uint8Array(Fs.readFileSync(path)))))
  const paths = [...given]
  for (let position = 0; paths.length < KERNELS && parsed.length > 0; position++) {
    const kernel = parsed[position % parsed.length]
    const variant = Variants.variants[position % Variants.variants.length]
    if (kernel === undefined || variant === undefined) break
    paths.push(written(`variant-${position}.btf`, Variants.make(variant, kernel).base.bytes))
  }
  return paths
}

export default (): ReadonlyArray<Case> => {
  Fs.mkdirSync(work, { recursive: true })
  const kernels = kernelPaths()
  if (kernels.length === 0) {
    process.stderr.write("no BTF of any kernel: no matrix\n")
    return []
  }
  const objects = objectPaths()
  const inputBytes = [...objects, ...kernels].reduce((sum, path) => sum + Fs.statSync(path).size, 0)
  const given = {
    objects: objects.map((path) => ({ path, bytes: new Uint8Array(Fs.readFileSync(path)), problem: undefined })),
    kernels: Inputs.named(kernels),
    threads: 1
  }
  const inProcess = { inputBytes, ours: () => Effect.runPromise(matrix(given)) }
  const args = [bundle(), "core", "check", ...objects, ...kernels.flatMap((path) => ["--btf", path]), "--json"]
  // Some cells are fatal, and the status says so.
  const shell = [
    "-c",
    "out=$1; shift; \"$@\" > \"$out\"; [ $? -le 1 ]",
    "sh",
    Path.join(work, "matrix.json"),
    process.execPath
  ]
  const command = { inputBytes, ours: { command: "sh", args: [...shell, ...args] } }
  const name = `core check: ${objects.length} objects on ${kernels.length} kernels`
  const old = libbpfPeer("own", objects, 1, { btf: kernels })
  return [
    { ...inProcess, name, ...old },
    { ...inProcess, name: `${name}, beside 1.5`, ...libbpfPeer("own", objects, 1, { btf: kernels, version: "1.5" }) },
    { ...command, name: `${name}, the command`, ...old }
  ]
}
