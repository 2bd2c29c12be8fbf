/**
 * What `feature probe` says of the running kernel is what bpftool says, for everything that bpftool knows: 7.1, whose
 * libbpf is 1.1, and 7.5 with libbpf 1.5. What was refused counts as not available, as bpftool has it.
 */
import { assert, it } from "@effect/vitest"
import * as Effect from "effect/Effect"
import * as Path from "node:path"
import { featureDocument } from "../../src/cli/json/FeatureDocument.ts"
import { helperId } from "../../src/insn/Helpers.ts"
import { progTypeByName } from "../../src/services/Kernel/abi/BpfConstants.ts"
import type { FeatureReport } from "../../src/services/Kernel/FeatureReport.ts"
import * as KernelLive from "../../src/services/Kernel/KernelLive.ts"
import { describeWith, newBpftool, repository, run } from "../support/Require.ts"

/** Sections by name, answers by key. */
type Document = Readonly<Record<string, Readonly<Record<string, unknown>>>>

/** The sections that say of things whether they are there, or what they are. */
const sections = ["system_config", "syscall_config", "program_types", "map_types", "misc"] as const

const bpftool = (tool: string, ...more: ReadonlyArray<string>): Document =>
  JSON.parse(run(tool, ["-j", "feature", "probe", ...more]).stdout)

/** The keys for which two documents differ, with both values. */
const differences = (ours: Document, theirs: Document): ReadonlyArray<string> =>
  sections.flatMap((section) =>
    Object.entries(theirs[section] ?? {})
      .filter(([key, value]) => JSON.stringify(ours[section]?.[key]) !== JSON.stringify(value))
      .map(([key, value]) => `${section}.${key}: ${JSON.stringify(ours[section]?.[key])}, not ${JSON.stringify(value)}`)
  )

const isNames = (value: unknown): value is ReadonlyArray<string> => Array.isArray(value)

const suffix = "_available_helpers"

/** Which helpers the other one has that are not expected, and the other way round, by type of program. */
const helperDifferences = (
  expected: (type: number, known: ReadonlySet<string>) => ReadonlySet<string>,
  theirs: Document
): { readonly found: ReadonlyArray<string>; readonly compared: number } => {
  const lists = Object.entries(theirs["helpers"] ?? {}).flatMap(([key, names]) =>
    isNames(names) ? [[key.slice(0, -suffix.length), new Set(names)] as const] : []
  )
  // What it knows it finds available for some type of program.
  const known = new Set(lists.flatMap(([, names]) => [...names]))
  const found: Array<string> = []
  for (const [name, names] of lists) {
    const type = progTypeByName(name)
    if (type === undefined) throw new Error(`no type of programs is called ${name}`)
    const here = expected(type, known)
    for (const helper of known) {
      if (here.has(helper) !== names.has(helper)) found.push(`${name}: ${helper}, ours ${here.has(helper)}`)
    }
  }
  return { found, compared: lists.length * known.size }
}

/** The helpers that we say programs of a type may call; with `also`, those besides whose refusal has this in it. */
const available = (report: FeatureReport, also?: string) => (type: number, known: ReadonlySet<string>) => {
  const answers = report.helpers.get(type)
  return new Set([...known].filter((name) => {
    const support = answers?._tag === "Probed" ? answers.answers.get(helperId(name) ?? 0) : undefined
    if (support?._tag === "Supported") return true
    return also !== undefined && support?._tag === "Unsupported" && support.why?.includes(also) === true
  }))
}

const ours = async (
  options: { readonly full?: boolean } = {}
): Promise<{ readonly report: FeatureReport; readonly document: Document }> => {
  const report = await Effect.runPromise(KernelLive.features(options))
  const document: Document = JSON.parse(JSON.stringify(featureDocument(report, "live")))
  return { report, document }
}

describeWith({ kind: "live", tools: ["bpftool"] }, "feature probe, beside bpftool", () => {
  it("says the same of types, limits, settings and configuration", async () => {
    const { document } = await ours()
    const theirs = bpftool("bpftool")
    assert.deepStrictEqual(differences(document, theirs), [])
    assert.isAtLeast(sections.reduce((sum, section) => sum + Object.keys(theirs[section] ?? {}).length, 0), 100)
    // Named fault: one answer the other way round is seen.
    const wrong = { ...document, map_types: { ...document["map_types"], have_hash_map_type: false } }
    assert.deepStrictEqual(differences(wrong, theirs), ["map_types.have_hash_map_type: false, not true"])
  })

  it("says the same of helpers, but for those that libbpf 1.1 takes for available by a word that it does not know", async () => {
    // Linux 6.13 says "program of this type cannot use helper" where it had said "unknown func". libbpf 1.1 looks for the
    // latter alone, and so takes every helper that the kernel knows for available to all programs.
    const { report } = await ours()
    const { compared, found } = helperDifferences(
      available(report, "program of this type cannot use helper "),
      bpftool("bpftool")
    )
    assert.deepStrictEqual(found, [])
    assert.isAtLeast(compared, 5000)
  })
})

describeWith({ kind: "live", tools: ["bpftool"], files: [newBpftool] }, "feature probe, beside bpftool 7.5", () => {
  it("says the same of everything, helpers by type of program included", async () => {
    const { document, report } = await ours()
    const theirs = bpftool(newBpftool)
    assert.deepStrictEqual(differences(document, theirs), [])
    const { compared, found } = helperDifferences(available(report), theirs)
    assert.deepStrictEqual(found, [])
    assert.isAtLeast(compared, 3000)
    // Named fault: what libbpf 1.1 takes for available is not.
    assert.isNotEmpty(helperDifferences(available(report, "program of this type cannot use helper "), theirs).found)
  })

  it("says the same with the helpers that the kernel warns of", async () => {
    const { document, report } = await ours({ full: true })
    const theirs = bpftool(newBpftool, "full")
    assert.deepStrictEqual(differences(document, theirs), [])
    const { found } = helperDifferences(available(report), theirs)
    assert.deepStrictEqual(found, [])
    assert.include(JSON.stringify(theirs["helpers"]), "bpf_trace_printk")
  })
})

describeWith({ kind: "live", tools: ["bpftool", "setpriv"] }, "feature probe of a user without rights", () => {
  it("says the same as bpftool, which reads what it may and is refused the rest", () => {
    const nobody = ["--reuid", "65534", "--regid", "65534", "--clear-groups"]
    const as = (...command: ReadonlyArray<string>): Document =>
      JSON.parse(run("setpriv", [...nobody, ...command]).stdout)
    const theirs = as("bpftool", "-j", "feature", "probe", "unprivileged")
    const document = as(process.execPath, Path.join(repository, "src/bin.ts"), "feature", "probe", "--json")
    assert.deepStrictEqual(differences(document, theirs), [])
    const helpers = (of: Document): ReadonlyArray<string> =>
      Object.values(of["helpers"] ?? {}).flatMap((names) => isNames(names) ? names : [])
    assert.deepStrictEqual(helpers(document), helpers(theirs))
    // Named fault: those with rights get other answers.
    assert.isNotEmpty(differences(bpftool("bpftool"), theirs))
  })
})
