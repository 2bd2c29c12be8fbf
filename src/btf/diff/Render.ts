/** A difference as text for people: one paragraph per type, moves of many members by one distance in one line. */
import type { BrokenAccess, Change, Difference, MemberPlace, ParamPlace, TypeAt, TypeChange } from "./DiffModel.ts"

/** Options of `render`. */
export interface RenderOptions {
  /** The names of the two sides; "before" and "after" unless given. */
  readonly names?: readonly [before: string, after: string]
}

/** A difference as text, a line feed at its end; the same text for the same difference. */
export const render = (difference: Difference, options: RenderOptions = {}): string =>
  [...lines(difference, options)].map((line) => `${line}\n`).join("")

/** The lines of `render`, one after another. */
export function* lines(difference: Difference, options: RenderOptions = {}): Generator<string> {
  const [before, after] = options.names ?? ["before", "after"]
  const { added, ambiguous, changed, compared, removed } = difference
  yield `--- ${before}: ${compared.before} types`
  yield `+++ ${after}: ${compared.after} types`
  yield `${compared.same} same, ${changed.length} changed, ${removed.length} removed, ${added.length} added`
    + (ambiguous.length === 0 ? "" : `, ${ambiguous.length} ambiguous`)
  for (const type of removed) yield `- ${shown(type)}`
  for (const type of added) yield `+ ${shown(type)}`
  for (const { after, before, kind, name } of ambiguous) {
    yield `? ${kind} ${name}: ${before.length} types before, ${after.length} after, and none is clearly another`
  }
  for (const change of changed) yield* changeLines(change)
}

const shown = ({ first, kind, name }: TypeAt): string =>
  name === "" ? `${kind} { ${first ?? ""}, … }` : `${kind} ${name}`

function* changeLines(change: TypeChange): Generator<string> {
  yield `! ${shown(change.before)}`
  if (change.incomplete) yield "    too many members, or too deeply nested, to be compared one by one"
  const moved = new Map<number, Array<string>>()
  for (const each of change.changes) {
    // Most of what moves moves because of one other change.
    if (each._tag === "MemberChanged" && each.what.length === 1 && each.what[0] === "moved") {
      const distance = each.after.bitOffset - each.before.bitOffset
      const paths = moved.get(distance)
      if (paths === undefined) moved.set(distance, [each.path])
      else paths.push(each.path)
      continue
    }
    yield `    ${changeText(each)}`
  }
  for (const [distance, paths] of moved) {
    const by = distance > 0 ? `+${bits(distance)}` : `-${bits(-distance)}`
    yield `    > ${paths.length === 1 ? paths[0] ?? "" : `${paths.length} members`} moved by ${by}${someOf(paths)}`
  }
  for (const each of change.breaks) yield `    breaks ${breakText(each)}`
  if (change.embeddedIn.length > 0) {
    yield `    also within ${change.embeddedIn.join(", ")}${change.embeddedInMore ? ", …" : ""}`
  }
}

const someOf = (paths: ReadonlyArray<string>): string => {
  if (paths.length === 1) return ""
  const some = paths.slice(0, 4).join(", ")
  return `: ${some}${paths.length > 4 ? ", …" : ""}`
}

const breakText = ({ now, path, why }: BrokenAccess): string =>
  why === "removed"
    ? `${path}: removed`
    : why === "renamed"
    ? `${path}: now ${now ?? ""}`
    : `${path}: of type ${now ?? ""} now`

/** Bits as bytes where they are whole ones. */
const bits = (count: number): string => count % 8 === 0 ? `${count / 8}` : `${Math.floor(count / 8)}:${count % 8}`

const place = (member: MemberPlace): string => {
  const size = member.bitfieldSize !== 0
    ? `${member.bitfieldSize} bits`
    : member.size === undefined
    ? "no size"
    : `${member.size} bytes`
  return `${member.type} at ${bits(member.bitOffset)}, ${size}`
}

const param = ({ index, name, type }: ParamPlace): string =>
  `${index}: ${type}${name === "" || type.endsWith("*") ? name : ` ${name}`}`

const tagged = (component: number, tag: string): string => component < 0 ? tag : `${tag} of ${component}`

const changeText = (change: Change): string => {
  switch (change._tag) {
    case "Resized":
      return `size ${change.before} → ${change.after}`
    case "Defined":
      return "declared only before, defined now"
    case "Undefined":
      return "defined before, declared only now"
    case "Retyped":
      return `type ${change.before} → ${change.after}`
    case "Encoding":
      return `${change.before} → ${change.after}`
    case "Linkage":
      return `linkage ${change.before} → ${change.after}`
    case "Signedness":
      return `${change.before ? "signed" : "unsigned"} → ${change.after ? "signed" : "unsigned"}`
    case "TagAdded":
      return `+ tag ${tagged(change.component, change.tag)}`
    case "TagRemoved":
      return `- tag ${tagged(change.component, change.tag)}`
    case "MemberAdded":
      return `+ ${change.path}: ${place(change.after)}`
    case "MemberRemoved":
      return `- ${change.path}: ${place(change.before)}`
    case "MemberChanged": {
      const name = change.path === change.newPath ? change.path : `${change.path} → ${change.newPath}`
      return `! ${name} ${change.what.join(", ")}: ${place(change.before)} → ${place(change.after)}`
    }
    case "ValueAdded":
      return `+ ${change.name} = ${change.after}`
    case "ValueRemoved":
      return `- ${change.name} = ${change.before}`
    case "ValueRenamed":
      return `! ${change.name} → ${change.newName} = ${change.value}`
    case "ValueChanged":
      return `! ${change.name} = ${change.before} → ${change.after}`
    case "ReturnRetyped":
      return `returns ${change.before} → ${change.after}`
    case "ParamAdded":
      return `+ parameter ${param(change.after)}`
    case "ParamRemoved":
      return `- parameter ${param(change.before)}`
    case "ParamChanged":
      return `! parameter ${change.what.join(", ")}: ${param(change.before)} → ${param(change.after)}`
  }
}
