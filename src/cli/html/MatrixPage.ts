/**
 * The page of `core check --html`: one file that shows without anything else, in light and in dark, and runs no code.
 */
import * as Compatibility from "../../diagnostics/Compatibility.ts"
import { clip } from "../text/Clip.ts"
import { placeText } from "../text/MatrixText.ts"
import { oldestReasons } from "../text/RequirementsText.ts"
import { type Html, html } from "./Html.ts"

const style = `
:root { color-scheme: light dark; --line: light-dark(#d0d7de, #3d444d); --dim: light-dark(#57606a, #9198a1);
  --page: light-dark(#ffffff, #0d1117); --raised: light-dark(#f6f8fa, #161b22); --text: light-dark(#1f2328, #e6edf3);
  --green: light-dark(#dafbe1, #12351d); --green-text: light-dark(#116329, #7ee787);
  --guarded: light-dark(#fff8c5, #3b2f00); --guarded-text: light-dark(#6b4e00, #e3b341);
  --unknown: light-dark(#eadcff, #2e1f4f); --unknown-text: light-dark(#5a2ca0, #d2a8ff);
  --fatal: light-dark(#ffe0de, #4d1518); --fatal-text: light-dark(#a40e26, #ff9a92); }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 90rem; padding: 1.5rem; font: 15px/1.5 system-ui, sans-serif; background: var(--page);
  color: var(--text); }
h1 { font-size: 1.5rem; margin: 0 0 .5rem; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; } h3 { font-size: 1rem; }
code, .mono { font-family: ui-monospace, monospace; font-size: .9em; overflow-wrap: anywhere; }
a { color: inherit; } p { margin: .4rem 0; } .dim { color: var(--dim); }
.badge { display: inline-block; padding: 0 .5em; border-radius: 1em; font-size: .85em; white-space: nowrap; }
.green { background: var(--green); color: var(--green-text); } .guarded { background: var(--guarded); color: var(--guarded-text); }
.unknown { background: var(--unknown); color: var(--unknown-text); } .fatal { background: var(--fatal); color: var(--fatal-text); }
.scroll { overflow: auto; max-height: 75vh; border: 1px solid var(--line); border-radius: 6px; }
table.matrix { border-collapse: separate; border-spacing: 0; }
.matrix th { position: sticky; background: var(--raised); font-weight: 500; z-index: 1; }
.matrix thead th { top: 0; vertical-align: bottom; padding: .4rem .2rem; border-bottom: 1px solid var(--line); }
.matrix thead th span { writing-mode: vertical-rl; rotate: 180deg; max-height: 14rem; overflow: hidden; white-space: nowrap; }
.matrix tbody th { left: 0; text-align: left; padding: .15rem .6rem; border-right: 1px solid var(--line); max-width: 22rem;
  overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
.matrix thead th:first-child { left: 0; z-index: 2; }
.matrix td { text-align: center; padding: 0; min-width: 2.4rem; border: 1px solid var(--page); }
.matrix summary { cursor: pointer; list-style: none; padding: .15rem .3rem; }
.matrix summary::-webkit-details-marker { display: none; }
.matrix details[open] summary { outline: 2px solid currentColor; outline-offset: -2px; }
.card { position: fixed; inset: auto 1rem 1rem 1rem; max-height: 45vh; overflow: auto; text-align: left; padding: 1rem;
  background: var(--raised); color: var(--text); border: 1px solid var(--line); border-radius: 8px; z-index: 9;
  box-shadow: 0 4px 24px #0006; }
.card ul { margin: .3rem 0; padding-left: 1.2rem; }
.list > details { border: 1px solid var(--line); border-radius: 6px; margin: .4rem 0; padding: .3rem .7rem; }
.list summary { cursor: pointer; } .list details > :not(summary) { margin-left: 1rem; }
pre { background: var(--raised); padding: .4rem .7rem; border-radius: 6px; overflow: auto; margin: .4rem 0; }
.bar { display: flex; height: 1rem; border-radius: 4px; overflow: hidden; gap: 1px; min-width: 12rem; }
.bar span { min-width: 2px; } .present { background: var(--green-text); } .present.other { background: light-dark(#4ac26b, #2ea043); }
.absent { background: var(--fatal-text); } .unclear { background: var(--dim); }
table.history { width: 100%; border-collapse: collapse; } .history td { padding: .3rem .5rem; border-top: 1px solid var(--line);
  vertical-align: top; } .history td:first-child { width: 45%; }
ul.runs { margin: .3rem 0; padding-left: 1.2rem; }
@media print { .card { display: none; } .scroll { max-height: none; } }
`

const signs: Readonly<Record<Compatibility.Verdict, string>> = { green: "✓", guarded: "~", unknown: "?", fatal: "✗" }

const meanings: Readonly<Record<Compatibility.Verdict, string>> = {
  green: "The kernel has all that the object refers to.",
  guarded: "The kernel lacks something, and the object's own checks keep the programs from using it.",
  unknown: "The kernel lacks something, and whether the checks hold, only its verifier can tell.",
  fatal: "The object cannot be loaded."
}

const badge = (verdict: Compatibility.Verdict): Html =>
  html`<span class="badge ${verdict}">${signs[verdict]} ${verdict}</span>`

/** The most findings that a cell's card names. */
const IN_CARD = 8

const cellHtml = (matrix: Compatibility.Matrix, object: number, kernel: number): Html => {
  const cell = matrix.cells[object]?.[kernel]
  const verdict = cell?.verdict ?? "fatal"
  const name = clip(matrix.objects[object]?.name ?? "")
  const on = clip(matrix.kernels[kernel]?.name ?? "")
  const what = `${name} on ${on}: ${verdict}`
  if (cell === undefined || cell.findings.length === 0) {
    return html`<td class="${verdict}" title="${what}">${signs[verdict]}</td>`
  }
  const more = cell.findings.length + cell.omitted - IN_CARD
  const listed = cell.findings.slice(0, IN_CARD).map((position) => {
    const finding = matrix.findings[position]
    return finding === undefined ?
      html`` :
      html`<li>${badge(finding.verdict)} <a href="#f${position}"><code>${
        clip(finding.subject)
      }</code></a> <span class="dim">${clip(finding.detail)}</span></li>
`
  })
  const { fatal, guarded, relocations, resolved, unknown } = cell.relocations
  return html`<td class="${verdict}"><details name="cell"><summary title="${what}">${
    signs[verdict]
  }</summary><div class="card">
<p><strong>${name}</strong> on <strong>${on}</strong> ${
    badge(verdict)
  } <span class="dim">(the cell closes this again)</span></p>
<p class="dim">CO-RE relocations: ${relocations}, of which ${resolved} resolved, ${guarded} guarded, ${unknown} unknown, ${fatal} fatal</p>
<ul>${listed}</ul>${more > 0 ? html`<p class="dim">and ${more} more</p>` : ""}</div></details></td>`
}

const tableHtml = (matrix: Compatibility.Matrix): Html =>
  html`<div class="scroll"><table class="matrix"><thead><tr><th scope="col">object</th>${
    matrix.kernels.map(({ name, path }) => html`<th scope="col" title="${clip(path)}"><span>${clip(name)}</span></th>`)
  }</tr></thead>
<tbody>
${
    matrix.objects.map(({ name, path }, object) =>
      html`<tr><th scope="row" title="${clip(path)}"><a href="#o${object}">${clip(name)}</a></th>${
        matrix.kernels.map((_, kernel) => cellHtml(matrix, object, kernel))
      }</tr>
`
    )
  }</tbody></table></div>
`

const legend = (matrix: Compatibility.Matrix): Html =>
  html`<p>${
    Compatibility.verdicts.map((verdict) =>
      html`${badge(verdict)} ${matrix.summary[verdict]} <span class="dim">${meanings[verdict]}</span><br>`
    )
  }</p>
`

const whereOf = ({ source }: Compatibility.Finding): string =>
  source === undefined || source.file === "" ? "" : `${clip(source.file)}:${source.line}`

/** The most programs that are named. */
const PROGRAMS = 20

const findingHtml = (
  { kernels }: Compatibility.Matrix,
  finding: Compatibility.MatrixFinding,
  position: number
): Html => {
  const { candidates, detail, hint, kinds, optional, programs, rule, slot, source, subject, verdict } = finding
  const where = whereOf(finding)
  const on = Compatibility.kernelRanges(kernels, finding.kernels)
  const open = verdict === "guarded" ? html`` : html` open`
  const fact = (name: string, value: Html): Html =>
    html`<p><span class="dim">${name}:</span> ${value}</p>
`
  const users = programs.slice(0, PROGRAMS).map(clip).join(", ") + (programs.length > PROGRAMS ? ", …" : "")
  return html`<details${open}><summary>${badge(verdict)} <code>${
    clip(subject)
  }</code> <span class="dim">${where}</span></summary>
<div id="f${position}">
<p>${clip(detail)}</p>
${source === undefined || source.text === "" ? "" : html`<pre><code>${clip(source.text)}</code></pre>`}
${fact("on", html`${on}`)}
${users === "" ? "" : fact(optional ? "in what is optional" : "in", html`<span class="mono">${users}</span>`)}
${
    finding.function === undefined || slot === undefined
      ? ""
      : fact("instruction", html`${slot} of <code>${clip(finding.function)}</code>, ${kinds.join(", ")}`)
  }
${
    candidates.length === 0 ?
      "" :
      html`<ul class="runs">${
        candidates.map((candidate) =>
          html`<li><code>${clip(candidate.name)}</code>${
            candidate.module === undefined ? "" : html` of module ${clip(candidate.module)}`
          } ${clip(Compatibility.refusalText(candidate))}</li>`
        )
      }</ul>`
  }
${hint === undefined ? "" : fact("hint", html`${clip(hint)}`)}
<p class="dim">${Compatibility.rules[rule]}</p>
</div></details>
`
}

const findingsHtml = (matrix: Compatibility.Matrix): Html => {
  const byObject = new Map<number | undefined, Array<Html>>()
  for (const [position, finding] of matrix.findings.entries()) {
    const of = byObject.get(finding.object)
    const one = findingHtml(matrix, finding, position)
    if (of === undefined) byObject.set(finding.object, [one])
    else of.push(one)
  }
  const titleOf = (object: number | undefined): Html =>
    object === undefined
      ? html`<h3>Kernels</h3>`
      : html`<h3 id="o${object}"><code>${clip(matrix.objects[object]?.path ?? "")}</code></h3>`
  return byObject.size === 0 ? html`` : html`<h2>Findings</h2>
${
    [...byObject].map(([object, findings]) =>
      html`<section class="list">${titleOf(object)}
${findings}</section>
`
    )
  }`
}

const runHtml = (
  { kernels }: Compatibility.Matrix,
  history: Compatibility.History,
  { from, place, to }: Compatibility.Run
): Html => {
  const name = history.changes.find((change) =>
    change.name !== undefined && (change.after === from || change.before === to)
  )?.name
  return html`<li>${Compatibility.kernelRange(kernels, from, to)}: ${placeText(place)}${
    name === undefined || place._tag === "Present" ? "" : html`, but <code>${clip(name)}</code>`
  }</li>`
}

const barHtml = ({ kernels }: Compatibility.Matrix, { runs }: Compatibility.History): Html =>
  html`<div class="bar" role="img" aria-label="${
    runs.map(({ from, place, to }) => `${Compatibility.kernelRange(kernels, from, to)}: ${placeText(place)}`).join("; ")
  }">${
    runs.map(({ from, place, to }, position) =>
      html`<span class="${place._tag.toLowerCase()}${position % 2 === 1 ? " other" : ""}" style="flex:${
        to - from + 1
      }" title="${Compatibility.kernelRange(kernels, from, to)}: ${placeText(place)}"></span>`
    )
  }</div>`

/** The most histories of each list; the JSON document has all. */
const HISTORIES = 500

const historyRows = (matrix: Compatibility.Matrix, histories: ReadonlyArray<Compatibility.History>): Html => {
  const more = histories.length - HISTORIES
  return html`<table class="history"><tbody>
${
    histories.slice(0, HISTORIES).map((history) =>
      html`<tr><td><details><summary><code>${clip(history.reference.path)}</code></summary><ul class="runs">${
        history.runs.map((run) => runHtml(matrix, history, run))
      }</ul></details></td><td>${barHtml(matrix, history)}</td></tr>
`
    )
  }</tbody></table>
${more > 0 ? html`<p class="dim">and ${more} more</p>` : ""}`
}

const historyHtml = (matrix: Compatibility.Matrix): Html => {
  if (matrix.kernels.length < 2) return html``
  const changing = matrix.histories.filter(({ runs }) => runs.length > 1)
  const lacking = changing.filter(Compatibility.isLacking)
  const moved = changing.filter((history) => !Compatibility.isLacking(history))
  return html`${
    lacking.length === 0 ? "" : html`<h2>What is missing from some kernels</h2>
<p class="dim">From ${matrix.kernels[0]?.name ?? ""} to ${
      matrix.kernels.at(-1)?.name ?? ""
    }: green where it is there, red where
it is not. A new shade begins where it is in another place or of another type.</p>
${historyRows(matrix, lacking)}`
  }${
    moved.length === 0 ? "" : html`<h2>What moved</h2>
<details><summary>${moved.length} fields, enumerators, types and functions that all kernels have, and that are not the same in all</summary>
${historyRows(matrix, moved)}</details>
`
  }`
}

const oldestHtml = ({ objects }: Compatibility.Matrix): Html => {
  const rows = objects.flatMap(({ name, oldest }) => oldest === undefined ? [] : [{ name, ...oldest }])
  return rows.length === 0 ? html`` : html`<h2>The oldest Linux that has what the programs and maps are made of</h2>
<table class="history"><thead><tr><th>object</th><th>to be loaded</th><th>to be attached</th><th>for</th></tr></thead><tbody>
${
    rows.map(({ attach, load, name }) =>
      html`<tr><td><code>${clip(name)}</code></td><td>${load.release ?? "?"}</td><td>${attach.release ?? "?"}</td><td>${
        clip(oldestReasons(load))
      }</td></tr>
`
    )
  }</tbody></table>
`
}

const uncheckedHtml = ({ kernels, objects, unchecked }: Compatibility.Matrix): Html =>
  unchecked.length === 0 ? html`` : html`<h2>Not checked, since nothing is known of it</h2>
<ul>${
    unchecked.map(({ kernels: on, object, what }) =>
      html`<li>${clip(what)} <span class="dim">(${clip(objects[object]?.name ?? "")} on ${
        Compatibility.kernelRanges(kernels, on)
      })</span></li>
`
    )
  }</ul>
`

/** The page of a matrix. */
export const matrixPage = (matrix: Compatibility.Matrix, version: string): Html => {
  const title = `${matrix.objects.length} ${
    matrix.objects.length === 1 ? "object" : "objects"
  } on ${matrix.kernels.length} ${matrix.kernels.length === 1 ? "kernel" : "kernels"}`
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>Compatibility of ${title}</title>
<style>${{ parts: [style] }}</style>
</head>
<body>
<h1>Compatibility of ${title}</h1>
${legend(matrix)}${tableHtml(matrix)}${findingsHtml(matrix)}${historyHtml(matrix)}${oldestHtml(matrix)}${
    uncheckedHtml(matrix)
  }
<p class="dim">effect-bpf ${version} core check</p>
</body>
</html>
`
}
