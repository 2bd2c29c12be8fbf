/**
 * What a test needs of the machine, and what happens when it is not there.
 *
 * A test group that needs bpf(2), a tool or a file says so through `describeWith`. On a machine that has it the group
 * runs; elsewhere it is skipped with one line on standard error that names the group and the reason. Where a skip must
 * not pass unseen (CI), the environment variable `EFFECT_BPF_REQUIRE`, a comma list of `live`, `oracle` and `vm`, turns it
 * into a failing test that names what is missing.
 */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import * as Os from "node:os"
import * as Path from "node:path"
import { describe, it } from "vitest"
import { probeBpf } from "./bpfProbe.ts"
import type { Live } from "./bpfProbe.ts"

export type { Live } from "./bpfProbe.ts"

/**
 * `live` tests make bpf(2) calls on the running kernel; `oracle` tests compare with another implementation; `vm` is the run
 * of the live tests on other kernels, in virtual machines (`npm run test:vm`).
 */
export type Kind = "live" | "oracle" | "vm"

/** What a group of tests needs: a usable bpf(2) if it is live, tools on PATH, files (relative ones: from the repository). */
export interface Requirements {
  readonly kind: Kind
  readonly tools?: ReadonlyArray<string>
  readonly files?: ReadonlyArray<string>
  /** The oldest release of Linux that the group is about: `6.18`. For what no feature tells. */
  readonly linux?: string
  /** The user is root: the group takes rights away, changes the owner of what it starts, or reads what only root may. */
  readonly root?: boolean
}

/** What becomes of a group: it runs, is skipped with a line for people, or fails because its kind was required. */
export type Decision =
  | { readonly _tag: "Run" }
  | { readonly _tag: "Skip"; readonly message: string }
  | { readonly _tag: "Fail"; readonly message: string }

/** The repository's folder, absolute. */
export const repository: string = Path.resolve(import.meta.dirname, "../..")

/**
 * The folder with real BPF objects for the full test run, absolute: `EFFECT_BPF_CORPUS`, or .cache/corpus in the
 * repository. A test that uses it names it in `files`.
 */
export const corpusFolder: string = Path.resolve(repository, process.env["EFFECT_BPF_CORPUS"] ?? ".cache/corpus")

/**
 * The folder of libbpf 1.5 and bpftool 7.5, absolute: `EFFECT_BPF_JUDGES`, or .cache/judges in the repository. Tests that
 * use the newer judges name `newBpftool` or `newLibbpf` in `files`.
 */
export const judgesFolder: string = Path.resolve(repository, process.env["EFFECT_BPF_JUDGES"] ?? ".cache/judges")

/** The executable of bpftool 7.5, absolute. */
export const newBpftool: string = Path.join(judgesFolder, "bpftool")

/** The folder with include/ and lib64/ of libbpf 1.5, absolute: `LIBBPF` of bench/peers/build.sh. */
export const newLibbpf: string = Path.join(judgesFolder, "libbpf")

/**
 * The folder of Debian's kernels with their BTF and modules, absolute: `EFFECT_BPF_KERNELS`, or .cache/kernels in the
 * repository. A test that uses it names it in `files`, and then asks `kernel`.
 */
export const kernelsFolder: string = Path.resolve(repository, process.env["EFFECT_BPF_KERNELS"] ?? ".cache/kernels")

/** What makes a file or folder that tests need and that is not committed. */
const makerOf = (file: string): string => {
  for (const [folder, script] of [[corpusFolder, "corpus"], [judgesFolder, "judges"], [kernelsFolder, "kernels"]]) {
    if (folder !== undefined && (file === folder || file.startsWith(`${folder}/`))) {
      return `; sh test/support/${script}.sh .cache/${script} makes it`
    }
  }
  return ""
}

let probed: Live | undefined
const probe = (): Live => (probed ??= probeBpf())

/** Whether bpf(2) is usable here; asked at the first use, once per process. */
export const live: Live = {
  get available() {
    return probe().available
  },
  get reason() {
    return probe().reason
  }
}

/** The Debian package that brings a tool, where its name differs. */
const packageOf: Readonly<Record<string, string>> = {
  cc: "gcc",
  clang: "clang-19",
  pahole: "dwarves",
  readelf: "binutils",
  objdump: "binutils",
  nm: "binutils",
  tc: "iproute2",
  ip: "iproute2"
}

const isExecutable = (path: string): boolean => {
  try {
    Fs.accessSync(path, Fs.constants.X_OK)
    return Fs.statSync(path).isFile()
  } catch {
    return false
  }
}

/**
 * The absolute path of a tool, or undefined where it is absent. `clang` and the `llvm-*` tools are looked for under
 * their versioned Debian name first (`clang-19`), so that fixtures and judges are of one known version; the sbin
 * folders count as on PATH, because a user's shell often leaves them out.
 */
export const toolPath = (tool: string): string | undefined => {
  const names = /^(clang|llvm-[a-z]+)$/.test(tool) ? [`${tool}-19`, tool] : [tool]
  const folders = [...(process.env["PATH"] ?? "").split(Path.delimiter), "/usr/local/sbin", "/usr/sbin", "/sbin"]
  for (const name of names) {
    for (const folder of folders) {
      const path = Path.join(folder, name)
      if (folder !== "" && isExecutable(path)) return path
    }
  }
  return undefined
}

/** What of the requirements is missing, each as one phrase; empty when all is there. `facts` can be replaced in tests. */
export const missing = (
  requirements: Requirements,
  facts: {
    readonly live: Live
    readonly hasTool: (tool: string) => boolean
    readonly hasFile: (path: string) => boolean
    readonly release: string
    readonly uid: number | undefined
  } = {
    live,
    hasTool: (tool) => toolPath(tool) !== undefined,
    hasFile: (path) => Fs.existsSync(Path.resolve(repository, path)),
    release: Os.release(),
    uid: process.geteuid?.()
  }
): ReadonlyArray<string> => {
  const absent: Array<string> = []
  if (requirements.kind === "live" && !facts.live.available) absent.push(facts.live.reason)
  if (requirements.linux !== undefined && isOlder(facts.release, requirements.linux)) {
    absent.push(`Linux is ${facts.release}, and this is of ${requirements.linux} and later`)
  }
  if (requirements.root === true && facts.uid !== 0) absent.push("the user is not root")
  for (const tool of requirements.tools ?? []) {
    if (!facts.hasTool(tool)) absent.push(`${tool} is not on PATH; apt-get install ${debianPackage(tool)}`)
  }
  for (const file of requirements.files ?? []) {
    if (!facts.hasFile(file)) absent.push(`${file} is absent${makerOf(file)}`)
  }
  return absent
}

/** Whether a release, as `6.1.0-47-cloud-amd64`, is older than a version, as `6.18`. */
export const isOlder = (release: string, version: string): boolean => {
  const [major = 0, minor = 0] = release.split(/[.-]/).map(Number)
  const [wantedMajor = 0, wantedMinor = 0] = version.split(".").map(Number)
  return major < wantedMajor || (major === wantedMajor && minor < wantedMinor)
}

const debianPackage = (tool: string): string => packageOf[tool] ?? (/^llvm-[a-z]+$/.test(tool) ? "llvm-19" : tool)

/** Reads the comma list of `EFFECT_BPF_REQUIRE`; an unknown kind throws, since a typo would let skips pass. */
export const requiredKinds = (list: string | undefined): ReadonlySet<Kind> => {
  const kinds = new Set<Kind>()
  for (const name of (list ?? "").split(",").map((part) => part.trim())) {
    if (name === "live" || name === "oracle" || name === "vm") kinds.add(name)
    else if (name !== "") throw new Error(`EFFECT_BPF_REQUIRE: ${name} is neither live, oracle nor vm`)
  }
  return kinds
}

/** Decides what becomes of the group `name`, from what is missing and from the kinds that must not be skipped. */
export const decide = (
  name: string,
  kind: Kind,
  absent: ReadonlyArray<string>,
  required: ReadonlySet<Kind>
): Decision => {
  if (absent.length === 0) return { _tag: "Run" }
  const what = `${kind} tests of ${name}: ${absent.join(", ")}`
  return required.has(kind)
    ? { _tag: "Fail", message: `required by EFFECT_BPF_REQUIRE: ${what}` }
    : { _tag: "Skip", message: `skipped: ${what}` }
}

/**
 * `describe(name, body)` where the requirements are met; elsewhere a skipped group and one line on standard error, or a
 * failing test if `EFFECT_BPF_REQUIRE` names the kind. `body` is not called unless the group runs, so it may read the
 * files and start the tools that it required while it registers its tests.
 */
export const describeWith = (requirements: Requirements, name: string, body: () => void): void => {
  const required = requiredKinds(process.env["EFFECT_BPF_REQUIRE"])
  const decision = decide(name, requirements.kind, missing(requirements), required)
  if (decision._tag === "Run") {
    describe(name, body)
    return
  }
  if (decision._tag === "Skip") {
    // Written to the descriptor: vitest would file it under a test's captured output, where nobody looks.
    Fs.writeSync(2, `${decision.message}\n`)
    describe.skip(name, () => {
      it(decision.message, () => {})
    })
    return
  }
  describe(name, () => {
    it("has what it needs", () => {
      throw new Error(decision.message)
    })
  })
}

/** What a finished tool left: its exit status (a signal counts as 128 + its number), and its output as text. */
export interface Run {
  readonly status: number
  readonly stdout: string
  readonly stderr: string
}

/**
 * Runs a tool without a shell and waits for it, at most two minutes. A tool that cannot be started throws; one that
 * fails does not: look at `status`.
 */
export const run = (
  tool: string,
  args: ReadonlyArray<string>,
  options: {
    readonly input?: string | Uint8Array
    readonly cwd?: string
    readonly env?: Readonly<Record<string, string>>
    readonly timeoutMilliseconds?: number
  } = {}
): Run => {
  const path = tool.includes("/") ? tool : toolPath(tool)
  if (path === undefined) throw new Error(`${tool} is not on PATH; apt-get install ${debianPackage(tool)}`)
  const done = ChildProcess.spawnSync(path, args, {
    ...(options.input === undefined ? { stdio: ["ignore", "pipe", "pipe"] } : { input: options.input }),
    ...(options.cwd === undefined ? {} : { cwd: options.cwd }),
    ...(options.env === undefined ? {} : { env: { ...process.env, ...options.env } }),
    encoding: "utf8",
    maxBuffer: 1 << 30,
    timeout: options.timeoutMilliseconds ?? 120_000
  })
  if (done.error !== undefined && done.status === null && done.signal === null) throw done.error
  const status = done.status ?? 128 + (done.signal === null ? 0 : Os.constants.signals[done.signal])
  return { status, stdout: done.stdout, stderr: done.stderr }
}

const cleanups: Array<() => void> = []

/** Runs the registered cleanups, newest first. Called after each test file and at process exit; idempotent. */
export const cleanUp = (): void => {
  for (let cleanup = cleanups.pop(); cleanup !== undefined; cleanup = cleanups.pop()) {
    try {
      cleanup()
    } catch (error) {
      Fs.writeSync(2, `test cleanup failed: ${error instanceof Error ? error.message : String(error)}\n`)
    }
  }
}

process.on("exit", cleanUp)

/** A new empty folder under the system's temporary folder, removed with its contents when the test file is done. */
export const temporaryFolder = (): string => {
  const folder = Fs.mkdtempSync(Path.join(Os.tmpdir(), "effect-bpf-test-"))
  cleanups.push(() => Fs.rmSync(folder, { recursive: true, force: true }))
  return folder
}

/** Names the folder that all processes of a run share, for as long as it takes; set by `wholeRun.ts`. */
export const runFolderVariable = "EFFECT_BPF_RUN_FOLDER"

/**
 * A folder for what all test files of a run can share, such as a program that was compiled: it is filled by `fill` for the
 * first who asks for this name, and removed after the run. Everyone may read it, for some tests start programs as another user.
 * `fill` is told where to make the files and where they will be.
 */
export const runFolder = (name: string, fill: (folder: string, later: string) => void): string => {
  const root = process.env[runFolderVariable]
  if (root === undefined) {
    const folder = temporaryFolder()
    Fs.chmodSync(folder, 0o755)
    fill(folder, folder)
    return folder
  }
  const folder = Path.join(root, name)
  if (Fs.existsSync(folder)) return folder
  const made = Fs.mkdtempSync(`${folder}-`)
  Fs.chmodSync(made, 0o755)
  fill(made, folder)
  try {
    Fs.renameSync(made, folder)
  } catch (error) {
    // Another process was faster.
    if (!Fs.existsSync(folder)) throw error
    Fs.rmSync(made, { recursive: true })
  }
  return folder
}

/** The file-system type that statfs(2) reports for bpffs (BPF_FS_MAGIC). */
const BPF_FS_MAGIC = 0xcafe4a11

const isBpffs = (folder: string): boolean => {
  try {
    return Fs.statfsSync(folder).type === BPF_FS_MAGIC
  } catch {
    return false
  }
}

let bpffsFolder: string | undefined

/**
 * A folder of a mounted bpffs that belongs to this process alone, one and the same at each call. It lies below
 * /sys/fs/bpf where that is mounted, else an instance is mounted on a temporary folder; pins and mount go when the test
 * file is done. Needs root.
 */
export const bpffs = (): string => {
  if (bpffsFolder !== undefined) return bpffsFolder
  if (isBpffs("/sys/fs/bpf")) {
    const folder = Fs.mkdtempSync(`/sys/fs/bpf/effect_bpf_test_${process.pid}_`)
    cleanups.push(() => Fs.rmSync(folder, { recursive: true, force: true }))
    bpffsFolder = folder
  } else {
    const folder = temporaryFolder()
    const mounted = run("mount", ["-t", "bpf", "bpf", folder])
    if (mounted.status !== 0) throw new Error(`mount -t bpf: ${mounted.stderr.trim()}`)
    cleanups.push(() => {
      const unmounted = run("umount", ["--lazy", folder])
      if (unmounted.status !== 0) throw new Error(`umount ${folder}: ${unmounted.stderr.trim()}`)
    })
    bpffsFolder = folder
  }
  cleanups.push(() => {
    bpffsFolder = undefined
  })
  return bpffsFolder
}

const fixturesFolder = Path.join(repository, "test/fixtures")

/** The bytes of `test/fixtures/<name>`, in a buffer of their own. */
export const fixture = (name: string): Uint8Array => {
  const path = Path.join(fixturesFolder, name)
  if (!Fs.existsSync(path)) throw new Error(`no fixture ${name}; npm run fixtures compiles them`)
  return new Uint8Array(Fs.readFileSync(path))
}

/**
 * The names of all compiled objects in test/fixtures, sorted; each is a name for `fixture`. Parts of a whole, which are not
 * there to be opened by themselves, are in its folder `link`: see `linkFixtures`.
 */
export const allFixtures = (): ReadonlyArray<string> =>
  Fs.readdirSync(fixturesFolder).filter((name) => name.endsWith(".o")).sort()

/** The names of the objects that are there to be linked, sorted: `link/vars_a.bpf.o`. */
export const linkFixtures = (): ReadonlyArray<string> =>
  Fs.readdirSync(Path.join(fixturesFolder, "link")).filter((name) => name.endsWith(".o")).sort().map((name) =>
    `link/${name}`
  )

/** The absolute paths of the corpus's objects, sorted; empty where the corpus was not made. */
export const corpus = (): ReadonlyArray<string> =>
  ["objects", "cilium"].map((part) => Path.join(corpusFolder, part)).filter((folder) => Fs.existsSync(folder)).flatMap(
    (folder) =>
      Fs.readdirSync(folder).filter((name) => /\.(o|elf)$/.test(name)).sort().map((name) => Path.join(folder, name))
  )

/** One of Debian's kernels: its release, its BTF (a raw blob), its uncompressed image, and its modules in one folder. */
export interface Kernel {
  readonly release: string
  readonly btf: string
  readonly vmlinux: string
  readonly modules: string
}

/**
 * A kernel of `kernelsFolder`: the newest of a series ("6.1", "6.12"), or the oldest, which for 6.1 is another build with
 * slightly different layouts. Throws where there is none.
 */
export const kernel = (series: "6.1" | "6.12", which: "newest" | "oldest" = "newest"): Kernel => {
  const names = Fs.readdirSync(kernelsFolder).filter((name) => name.startsWith(`${series}.`) && name.endsWith(".btf"))
  const releases = names.map((name) => name.slice(0, -4)).sort((a, b) => a.localeCompare(b, "en", { numeric: true }))
  const release = releases[which === "newest" ? releases.length - 1 : 0]
  if (release === undefined) throw new Error(`no kernel ${series} in ${kernelsFolder}${makerOf(kernelsFolder)}`)
  const folder = Path.join(kernelsFolder, release)
  return {
    release,
    btf: `${folder}.btf`,
    vmlinux: Path.join(folder, "vmlinux"),
    modules: Path.join(folder, "modules")
  }
}

/** The paths of a kernel's modules, sorted. */
export const modulesOf = ({ modules }: Kernel): ReadonlyArray<string> =>
  Fs.readdirSync(modules).filter((name) => name.endsWith(".ko")).sort().map((name) => Path.join(modules, name))

/**
 * How many runs a property gets: `count` times the multiplier of the environment variable `FC_RUNS` (default 1), at
 * least 1. For `fc.assert(property, { numRuns: runs(500) })`; properties that name no number are scaled by themselves.
 */
export const runs = (count: number): number => Math.max(1, Math.round(count * runsMultiplier(process.env["FC_RUNS"])))

/**
 * The runs of a property whose test also asserts what its cases have met, which takes `count` of them: more by `FC_RUNS`, never
 * fewer.
 */
export const runsToMeet = (count: number): number => Math.max(count, runs(count))

/** Reads `FC_RUNS`: a positive number, fractions allowed; anything else throws. */
export const runsMultiplier = (text: string | undefined): number => {
  const value = text === undefined || text === "" ? 1 : Number(text)
  if (!(value > 0 && value <= 1e6)) throw new Error(`FC_RUNS must be a positive number, not ${text}`)
  return value
}
