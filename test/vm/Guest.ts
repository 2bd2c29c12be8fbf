/**
 * What lies in a guest: a few tools of this machine with their libraries, Node, the bundled tests, the fixtures, and the
 * modules and configuration of its kernel.
 */
import * as ChildProcess from "node:child_process"
import * as Fs from "node:fs"
import { createRequire } from "node:module"
import * as Path from "node:path"
import * as CellLoads from "../support/CellLoads.ts"
import * as FailingLogs from "../support/failing/FailingLogs.ts"
import { repository, toolPath } from "../support/Require.ts"
import type { Kernel } from "../support/Require.ts"
import * as Bundle from "./Bundle.ts"
import { archive, type Entry } from "./Cpio.ts"
import * as UsdtTarget from "../support/UsdtTarget.ts"

/** Tools that live tests start, and that are put into the guest where this machine has them. */
const tools = ["bash", "bpftool", "getconf", "ip", "setpriv", "strace", "taskset", "tc"]

/** Modules that live tests use, or whose BTF they read; what these need is added. */
const modules = ["veth", "dummy", "cls_bpf", "sch_ingress", "sch_htb", "act_bpf", "tcp_bbr", "nf_conntrack"]

const file = (path: string, source: string, executable = false): Entry => ({
  _tag: "File",
  path,
  bytes: Fs.readFileSync(source),
  executable
})

const text = (path: string, content: string, executable = false): Entry => ({
  _tag: "File",
  path,
  bytes: new TextEncoder().encode(content),
  executable
})

/** All files below a folder of this machine, under another folder of the guest. */
const tree = (path: string, source: string): ReadonlyArray<Entry> =>
  Fs.readdirSync(source, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => Path.join(entry.parentPath, entry.name))
    .map((found) => file(Path.join(path, Path.relative(source, found)), found, (Fs.statSync(found).mode & 0o100) !== 0))

/** The shared libraries of a program and its loader, by ldd. A static program has none. */
const libraries = (path: string): ReadonlyArray<string> => {
  const { stdout } = ChildProcess.spawnSync("ldd", [path], { encoding: "utf8" })
  return [...stdout.matchAll(/(?:=> )?(\/\S+) \(0x/g)].map(([, found]) => found ?? "")
}

/** Programs at places of their own, with the libraries that they share. */
const programs = (places: ReadonlyMap<string, string>): ReadonlyArray<Entry> => {
  const shared = new Set([...places.values()].flatMap(libraries))
  return [
    ...[...places].map(([path, source]) => file(path, source, true)),
    ...[...shared].map((path) => file(path.slice(1), path, true))
  ]
}

/** Runs the bundled script by the path of the source that tests know. */
const standIn = (script: string): string => `await import(${JSON.stringify(script)})\n`

/** Sources that tests start by their path. */
const started = [
  "examples/firewall.ts",
  "examples/firewall/firewall.ts",
  "examples/inspect.ts",
  "examples/nodegc/nodegc.ts",
  "examples/snoop/snoop.ts",
  "examples/tcplatency/tcplatency.ts",
  "examples/trace.ts",
  "test/support/loaderLimit.ts",
  "test/support/reopenChild.ts",
  "test/support/rightsChild.ts",
  "test/support/withoutInput.ts"
]

/** Objects that lie beside skeletons among them. */
const besideSkeletons = started.flatMap((path) => {
  const object = path.replace(/\.ts$/, ".bpf.o")
  return Fs.existsSync(Path.join(repository, object)) ? [object] : []
})

/** A program with probes and its library, where they can be built. */
const withProbes = (): ReadonlyArray<readonly [string, string]> => {
  if (toolPath("cc") === undefined || !Fs.existsSync(UsdtTarget.sdtHeader)) return []
  const { library, program } = UsdtTarget.build()
  return [program, library].map((path) => [Path.join(UsdtTarget.prebuilt.slice(1), Path.basename(path)), path] as const)
}

/** What gathers logs of refused programs, and objects whose programs are refused, where their sources are at hand. */
const withFailing = (): ReadonlyArray<readonly [string, string]> => {
  if (!FailingLogs.isAvailable()) return []
  const folder = FailingLogs.prebuilt.slice(1)
  return [
    [Path.join(folder, "gather"), FailingLogs.gatherer()] as const,
    ...FailingLogs.objects.map((name) => [Path.join(folder, name), FailingLogs.objectPath(name)] as const)
      .filter(([, path]) => Fs.existsSync(path))
  ]
}

/** Objects whose cells of the compatibility matrix are held against loads, where the corpus is at hand. */
const withCells = (): ReadonlyArray<Entry> =>
  CellLoads.objects.map((name) => [name, CellLoads.objectPath(name)] as const)
    .filter(([, path]) => Fs.existsSync(path))
    .map(([name, path]) => file(Path.join(CellLoads.prebuilt.slice(1), name), path))

/** What all guests have in common: the entries of the archive, and the names of the test files in it. */
export const common = async (names: ReadonlyArray<string>, scratch: string): Promise<ReadonlyArray<Entry>> => {
  await Bundle.tests(names, Path.join(scratch, "tests"))
  await Bundle.scripts(started, Path.join(scratch, "scripts"))
  Bundle.command(Path.join(scratch, "dist"))
  const busybox = toolPath("busybox")
  if (busybox === undefined) throw new Error("busybox is not on PATH; apt-get install busybox-static")
  const found = tools.flatMap((tool) => {
    const path = toolPath(tool)
    return path === undefined ? [] : [[`usr/bin/${tool}`, path] as const]
  })
  const repo = Bundle.guestRepository.slice(1)
  const native = createRequire(Path.join(repository, "package.json"))
  const koffi = Path.dirname(native.resolve("koffi"))
  const addon = Path.resolve(koffi, `../@koromix/koffi-linux-${process.arch}`)
  return [
    ...programs(
      new Map([
        ["bin/busybox", busybox],
        ["usr/bin/node", Fs.realpathSync(process.execPath)],
        ...found,
        ...withProbes(),
        ...withFailing()
      ])
    ),
    ...withCells(),
    file("init", Path.join(import.meta.dirname, "guest/init.sh"), true),
    file("run-tests", Path.join(import.meta.dirname, "guest/run-tests.sh"), true),
    { _tag: "Link", path: "bin/sh", target: "busybox" },
    ...["dev", "proc", "sys", "tmp", "root", "run"].map((path): Entry => ({ _tag: "Folder", path })),
    text("etc/passwd", "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp/user:/bin/sh\n"),
    text("etc/group", "root:x:0:\nuser:x:1000:\n"),
    ...tree("vm/tests", Path.join(scratch, "tests")),
    ...tree("vm/scripts", Path.join(scratch, "scripts")),
    ...besideSkeletons.map((object) => file(`vm/scripts/${object}`, Path.join(repository, object))),
    text("vm/package.json", `{"type":"module"}`),
    { _tag: "Link", path: "vm/node_modules", target: `${Bundle.guestRepository}/node_modules` },
    ...tree(`${repo}/dist`, Path.join(scratch, "dist")),
    file(`${repo}/package.json`, Path.join(repository, "package.json")),
    text(`${repo}/src/bin.ts`, standIn(`${Bundle.guestRepository}/dist/effect-bpf.js`)),
    ...started.map((path) => text(`${repo}/${path}`, standIn(`/vm/scripts/${path.replace(/\.ts$/, ".js")}`))),
    file(`${repo}/examples/start.sh`, Path.join(repository, "examples/start.sh"), true),
    ...tree(`${repo}/test/fixtures`, Path.join(repository, "test/fixtures")),
    ...tree(`${repo}/test/live/programs`, Path.join(repository, "test/live/programs")),
    ...["package.json", "index.cjs", "index.js", "indirect.cjs", "indirect.js"].map((name) =>
      file(`${repo}/node_modules/koffi/${name}`, Path.join(koffi, name))
    ),
    ...tree(`${repo}/node_modules/koffi/src/koffi`, Path.join(koffi, "src/koffi")).filter(({ path }) =>
      /\.(c?js|json)$/.test(path)
    ),
    ...tree(`${repo}/node_modules/@koromix/koffi-linux-${process.arch}`, addon)
  ]
}

/** The modules that a module needs, as its section .modinfo says. */
const needs = (bytes: Uint8Array): ReadonlyArray<string> => {
  const depends = /\0depends=([^\0]*)\0/.exec(
    Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString("latin1")
  )
  return (depends?.[1] ?? "").split(",").filter((name) => name !== "")
}

/** What is a kernel's own: its configuration, and modules in the order in which they are inserted. */
export const own = (kernel: Kernel): ReadonlyArray<Entry> => {
  const files = new Map(
    Fs.readdirSync(kernel.modules).map((name) => [name.replace(/\.ko$/, "").replaceAll("-", "_"), name])
  )
  const order: Array<string> = []
  const add = (name: string): void => {
    const found = files.get(name.replaceAll("-", "_"))
    // What is not a module of this kernel is built into it, or does not exist there.
    if (found === undefined || order.includes(found)) return
    for (const need of needs(Fs.readFileSync(Path.join(kernel.modules, found)))) add(need)
    order.push(found)
  }
  for (const name of modules) add(name)
  return [
    file(`boot/config-${kernel.release}`, Path.join(Path.dirname(kernel.vmlinux), "config")),
    ...order.map((name) => file(`modules/${name}`, Path.join(kernel.modules, name))),
    text("modules/order", order.map((name) => `${name}\n`).join(""))
  ]
}

/** Appends an archive to a file. */
export const append = (path: string, entries: Iterable<Entry>): void => {
  const to = Fs.openSync(path, "a")
  for (const part of archive(entries)) Fs.writeSync(to, part)
  Fs.closeSync(to)
}
