/**
 * Findings of `core check` in the Static Analysis Results Interchange Format, for tools that show findings beside source
 * code.
 *
 * Source: OASIS, SARIF version 2.1.0.
 */
import * as Compatibility from "../../diagnostics/Compatibility.ts"
import { clip } from "../text/Clip.ts"
import type { Json } from "./Json.ts"

type Properties = { readonly [key: string]: Json }

const schema = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"

const levels: Readonly<Record<Compatibility.Finding["verdict"], string>> = {
  fatal: "error",
  unknown: "warning",
  guarded: "note"
}

const ruleIds: ReadonlyArray<string> = Object.keys(Compatibility.rules)

const pascal = (id: string): string => id.replaceAll(/(?:^|-)([a-z])/g, (_, letter: string) => letter.toUpperCase())

const descriptors: ReadonlyArray<Json> = Object.entries(Compatibility.rules).map(([id, text]) => ({
  id,
  name: pascal(id),
  shortDescription: { text },
  defaultConfiguration: { level: "error" }
}))

/**
 * A path as a URI reference: what is no letter, digit or plain sign is escaped, so that a name is never taken for a scheme,
 * a query or a host.
 */
const uri = (path: string): string => {
  // A lone surrogate has no UTF-8.
  const escaped = path.toWellFormed().split("/").map(encodeURIComponent).join("/")
  if (!escaped.startsWith("/")) return escaped
  return `file:///${escaped.replace(/^\/+/, "")}`
}

const physicalLocation = (matrix: Compatibility.Matrix, finding: Compatibility.MatrixFinding): Json => {
  const { kernels, object, source } = finding
  if (source !== undefined && source.file !== "") {
    return {
      artifactLocation: { uri: uri(clip(source.file)) },
      ...(source.line === 0 ? {} : {
        region: {
          startLine: source.line,
          ...(source.column === 0 ? {} : { startColumn: source.column }),
          ...(source.text === "" ? {} : { snippet: { text: clip(source.text) } })
        }
      })
    }
  }
  const path = object === undefined ? matrix.kernels[kernels[0] ?? 0]?.path : matrix.objects[object]?.path
  return { artifactLocation: { uri: uri(path ?? "") } }
}

/** Tells results apart from run to run, whatever becomes of lines and instructions. */
const fingerprint = (matrix: Compatibility.Matrix, finding: Compatibility.MatrixFinding): string =>
  [
    finding.object === undefined ? "" : matrix.objects[finding.object]?.name ?? "",
    finding.rule,
    finding.function ?? "",
    clip(finding.subject)
  ].join("|")

const resultOf = (matrix: Compatibility.Matrix, finding: Compatibility.MatrixFinding): Json => {
  const { candidates, detail, hint, kernels, object, programs, rule, slot, subject, verdict } = finding
  const on = Compatibility.kernelRanges(matrix.kernels, kernels)
  const what = object === undefined ? "" : `${matrix.objects[object]?.name ?? ""} on `
  const names = [...new Set([...programs, ...(finding.function === undefined ? [] : [finding.function])])]
  const properties: Properties = {
    verdict,
    object: object === undefined ? null : matrix.objects[object]?.path ?? "",
    kernels: kernels.map((position) => matrix.kernels[position]?.name ?? ""),
    instruction: slot ?? null,
    candidates: candidates.map((candidate) => clip(`${candidate.name} ${Compatibility.refusalText(candidate)}`))
  }
  return {
    ruleId: rule,
    ruleIndex: ruleIds.indexOf(rule),
    level: levels[verdict],
    message: { text: `${clip(subject)}: ${clip(detail)} (${what}${on})${hint === undefined ? "" : `. ${clip(hint)}`}` },
    locations: [{
      physicalLocation: physicalLocation(matrix, finding),
      ...(names.length === 0 ? {} : { logicalLocations: names.map((name) => ({ name: clip(name), kind: "function" })) })
    }],
    partialFingerprints: { "effectBpfFinding/v1": fingerprint(matrix, finding) },
    properties
  }
}

/** The log of a matrix: one run, a result for each finding. */
export const sarifDocument = (matrix: Compatibility.Matrix, version: string): Json => ({
  $schema: schema,
  version: "2.1.0",
  runs: [{
    tool: { driver: { name: "effect-bpf", version, rules: descriptors } },
    columnKind: "utf16CodeUnits",
    results: matrix.findings.map((finding) => resultOf(matrix, finding))
  }]
})
