/**
 * The document of `core check --json`.
 *
 * `cells` has an entry for each object and kernel, with its `verdict` and the positions of its `findings`. `findings` has
 * each finding once, with the names of its `kernels`; `history` what became of each field, enumerator, type, function and
 * variable over the kernels, as `runs` of kernels in which it is the same and `changes` between them. 64-bit numbers are
 * texts of digits.
 */
import type * as Compatibility from "../../diagnostics/Compatibility.ts"
import type * as Documents from "../schemas/Core.ts"
import { clip } from "../text/Clip.ts"
import type { Json } from "./Json.ts"
import { oldestJson } from "./RequirementsDocument.ts"

const orNull = <A extends Json>(value: A | undefined): A | null => value ?? null

const clipped = (text: string | undefined): string | null => text === undefined ? null : clip(text)

const snake = (name: string): string =>
  name.replaceAll(/[A-Z]/g, (letter, at: number) => `${at === 0 ? "" : "_"}${letter.toLowerCase()}`)

/** Where something is in a kernel. */
export const placeJson = (place: Compatibility.Place): typeof Documents.Place.Type => {
  switch (place._tag) {
    case "Present":
      return {
        state: "present",
        module: clipped(place.module),
        bit_offset: orNull(place.bitOffset),
        type: clipped(place.type),
        size: orNull(place.size),
        value: place.value === undefined ? null : BigInt.asIntN(64, place.value).toString()
      }
    case "Absent":
      return { state: "absent", reason: snake(place.reason), at: clip(place.at) }
    case "Unclear":
      return { state: "unclear", reason: snake(place.reason) }
  }
}

const findingJson = (
  matrix: Compatibility.Matrix,
  finding: Compatibility.MatrixFinding
): typeof Documents.Finding.Type => {
  const { candidates, detail, hint, kernels, kinds, object, optional, programs, rule, slot, source, subject, verdict } =
    finding
  return {
    object: object === undefined ? null : orNull(matrix.objects[object]?.path),
    kernels: kernels.map((position) => matrix.kernels[position]?.name ?? ""),
    rule,
    verdict,
    subject: clip(subject),
    detail: clip(detail),
    hint: clipped(hint),
    programs: programs.map(clip),
    function: clipped(finding.function),
    insn: orNull(slot),
    file: clipped(source?.file),
    line: orNull(source?.line),
    column: orNull(source?.column),
    source: clipped(source?.text),
    kinds: [...kinds],
    optional,
    candidates: candidates.map(({ at, module, name, reason }) => ({
      module: clipped(module),
      type: clip(name),
      reason: reason === undefined ? null : snake(reason),
      at: clip(at)
    }))
  }
}

const historyJson = (
  { kernels }: Compatibility.Matrix,
  { changes, reference, runs }: Compatibility.History
): typeof Documents.History.Type => {
  const name = (position: number): string => kernels[position]?.name ?? ""
  return {
    what: reference.what,
    path: clip(reference.path),
    runs: runs.map(({ from, place, to }) => ({ from: name(from), to: name(to), ...placeJson(place) })),
    changes: changes.map((change) => ({
      before: name(change.before),
      after: name(change.after),
      kinds: [...change.kinds],
      name: clipped(change.name)
    }))
  }
}

/** The document of a matrix. */
export const matrixDocument = (matrix: Compatibility.Matrix): typeof Documents.Check.Type => ({
  objects: matrix.objects.map(({ name, oldest, path, problem }) => ({
    name,
    path,
    problem: orNull(problem),
    oldest: oldest === undefined ? null : { load: oldestJson(oldest.load), attach: oldestJson(oldest.attach) }
  })),
  kernels: matrix.kernels.map(({ name, path, problem }) => ({ name, path, problem: orNull(problem) })),
  summary: { ...matrix.summary },
  cells: matrix.cells.flatMap((row, object) =>
    row.map(({ findings, omitted, relocations, verdict }, kernel) => ({
      object: matrix.objects[object]?.path ?? "",
      kernel: matrix.kernels[kernel]?.name ?? "",
      verdict,
      relocations: { ...relocations },
      findings: [...findings],
      omitted
    }))
  ),
  findings: matrix.findings.map((finding) => findingJson(matrix, finding)),
  history: matrix.histories.map((history) => historyJson(matrix, history)),
  unchecked: matrix.unchecked.map(({ kernels, object, what }) => ({
    object: matrix.objects[object]?.path ?? "",
    what: clip(what),
    kernels: kernels.map((position) => matrix.kernels[position]?.name ?? "")
  }))
})
