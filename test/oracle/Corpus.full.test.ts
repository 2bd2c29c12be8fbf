/**
 * The corpus of real objects loaded on the live kernel, by us and by libbpf: what is sent, whether it loads, and what the
 * kernel makes of it. Objects that neither loads as a whole are loaded once more for each of their programs.
 */
import { afterAll, assert, beforeAll, it } from "@effect/vitest"
import * as Result from "effect/Result"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Open from "../../src/stages/open/Open.ts"
import { infoDifferences } from "../support/InfosBeside.ts"
import {
  changesPrograms,
  deliberate,
  type DeliberateName,
  loadDifferences,
  whichDeliberate
} from "../support/LoadedBeside.ts"
import * as LoadInChild from "../support/LoadInChild.ts"
import type { LoadOptions } from "../support/LoadOurs.ts"
import * as Peer from "../support/Peer.ts"
import * as Libbpf from "../support/Libbpf.ts"
import { bpffs, corpus, corpusFolder, describeWith, run, temporaryFolder } from "../support/Require.ts"

/** The verifier may look at a million instructions, which takes it seconds. */
const limitMilliseconds = 120_000

/** The differences that whole objects show; one that no longer occurs fails. */
const expectedOfObjects: ReadonlyArray<DeliberateName> = [
  "beforeAnyCall",
  "byteOrder",
  "externLookup",
  "innerPerfEventArray",
  "kernelVersion",
  "legacyMaps",
  "onlyText",
  "syscallWrapper",
  "usdtForMany"
]

/** Those that single programs show, of objects that nobody loads. */
const expectedOfPrograms: ReadonlyArray<DeliberateName> = [
  "beforeAnyCall",
  "externLookup",
  "kernelVersion"
]

/** Objects of the corpus that are parts of a whole, to be linked. */
const wholes: Readonly<Record<string, ReadonlyArray<string>>> = {
  linked_funcs: ["linked_funcs1", "linked_funcs2"],
  linked_maps: ["linked_maps1", "linked_maps2"],
  linked_vars: ["linked_vars1", "linked_vars2"],
  test_subskeleton: ["test_subskeleton_lib2", "test_subskeleton_lib", "test_subskeleton"],
  test_usdt: ["test_usdt", "test_usdt_multispec"],
  xdp_redirect: ["sample_xdp_redirect", "sample_xdp_sample"],
  xdp_redirect_cpu: ["sample_xdp_redirect_cpu", "sample_xdp_sample"],
  xdp_redirect_map: ["sample_xdp_redirect_map", "sample_xdp_sample"],
  xdp_redirect_map_multi: ["sample_xdp_redirect_map_multi", "sample_xdp_sample"],
  xdp_router_ipv4: ["sample_xdp_router_ipv4", "sample_xdp_sample"]
}

/** Links them with bpftool; the paths of the wholes. */
const link = (): ReadonlyArray<string> => {
  const folder = temporaryFolder()
  return Object.entries(wholes).map(([name, parts]) => {
    const path = Path.join(folder, `${name}.o`)
    const paths = parts.map((part) => Path.join(corpusFolder, "objects", `${part}.o`))
    const linked = run("bpftool", ["gen", "object", path, ...paths])
    assert.strictEqual(linked.status, 0, linked.stderr)
    return path
  })
}

/** What was found in many loads. */
class Findings {
  readonly counts = new Map<string, number>()
  readonly kinds = new Set<DeliberateName>()
  readonly examples = new Map<string, string>()
  readonly unexplained: Array<string> = []

  count(what: string, name: string): void {
    this.counts.set(what, (this.counts.get(what) ?? 0) + 1)
    if (!this.examples.has(what)) this.examples.set(what, name)
  }

  /** A table for people: how often, what, the first object that shows it. */
  table(title: string): string {
    const rows = [...this.counts].sort(([a], [b]) => a < b ? -1 : 1)
    return [
      title,
      ...rows.map(([what, times]) => `${String(times).padStart(6)}  ${what} (${this.examples.get(what)})`),
      ""
    ].join("\n")
  }
}

describeWith(
  { kind: "live", tools: [...Libbpf.needs("system").tools, "bpftool"], files: [corpusFolder] },
  "loads of the corpus, beside libbpf",
  () => {
    const loader = LoadInChild.make(limitMilliseconds)
    afterAll(() => loader.close())

    const whole = new Findings()
    const single = new Findings()
    /** Objects that neither loads, for another look at each of their programs. */
    const refused: Array<string> = []

    const loadBoth = async (name: string, options: Omit<LoadOptions, "pinRoot">, findings: Findings) => {
      const pinRoot = Path.join(bpffs(), "pins")
      const outcome = await loader.load({ ...options, pinRoot })
      const pins = Fs.existsSync(pinRoot) ? Fs.readdirSync(pinRoot) : []
      Fs.rmSync(pinRoot, { recursive: true, force: true })
      const only = options.only === undefined ? [] : ["--only", options.only]
      const libbpf = Peer.load(options.path, ["--pin-root", pinRoot, ...only])
      Fs.rmSync(pinRoot, { recursive: true, force: true })
      if (outcome._tag === "Ended") {
        findings.unexplained.push(`${name}: the process that loaded it ended: ${outcome.how}`)
        return { ours: undefined, libbpf }
      }
      const ours = outcome.load
      if (outcome.leaked > 0) findings.unexplained.push(`${name}: ${outcome.leaked} descriptors are left open`)
      if (ours.error !== undefined && pins.length > 0) {
        findings.unexplained.push(`${name}: does not load, and leaves the pins ${pins.join(", ")}`)
      }
      const stage = ours.stage === "loaded" ? "we load it" : `our ${ours.stage} fails`
      const theirs = libbpf.error === undefined ? "libbpf loads it" : `libbpf's ${libbpf.error.stage} fails`
      findings.count(`${stage}, ${theirs}`, name)
      const found = loadDifferences(ours, libbpf)
      const kinds = new Set(found.map(whichDeliberate))
      for (const kind of kinds) {
        if (kind === undefined) continue
        findings.kinds.add(kind)
        findings.count(`differs: ${deliberate[kind].reason}`, name)
      }
      const infos = ours.error !== undefined || libbpf.error !== undefined || changesPrograms(kinds)
        ? []
        : infoDifferences(ours, libbpf)
      for (const { at, field, libbpf, ours } of [...found.filter((each) => !whichDeliberate(each)), ...infos]) {
        findings.unexplained.push(
          `${name}: ${at}: ${field} is ${ours.slice(0, 300)}, libbpf has ${libbpf.slice(0, 300)}`
        )
      }
      return { ours, libbpf }
    }

    beforeAll(async () => {
      for (const path of [...corpus(), ...link()]) {
        const { libbpf, ours } = await loadBoth(Path.basename(path), { path }, whole)
        const opened = ours !== undefined && ours.stage !== "open" && libbpf.error?.stage !== "open"
        if (opened && ours.error !== undefined && libbpf.error !== undefined) refused.push(path)
      }
      for (const path of refused) {
        const object = Result.getOrThrow(Open.fromBytes(new Uint8Array(Fs.readFileSync(path)), { path }))
        const programs = Open.entryPrograms(object)
        if (programs.length === 1) continue
        for (const { name } of programs) await loadBoth(`${Path.basename(path)} ${name}`, { path, only: name }, single)
      }
      Fs.writeSync(
        2,
        whole.table("\nobjects of the corpus") + single.table("\nprograms of objects that do not load as a whole")
      )
    }, 1_500_000)

    const occurring = (names: ReadonlyArray<DeliberateName>): ReadonlyArray<DeliberateName> =>
      names.filter((name) => deliberate[name].absentHere !== true)

    it("every object loads as it does with libbpf, apart from what is meant to differ", () => {
      assert.deepStrictEqual(whole.unexplained, [])
      assert.deepStrictEqual([...whole.kinds].sort(), occurring(expectedOfObjects))
      assert.isAbove(whole.counts.get("we load it, libbpf loads it") ?? 0, 250)
    })

    it("so does every program by itself, of objects that do not load", () => {
      assert.deepStrictEqual(single.unexplained, [])
      assert.deepStrictEqual([...single.kinds].sort(), occurring(expectedOfPrograms))
    })
  }
)
