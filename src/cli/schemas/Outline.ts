/**
 * What is promised of documents, as lines that can be compared: one for each place of a document, with what may stand there
 * and whether it always does.
 *
 * `prog show: []/id! integer`: in each element of the list there is the key `id`, an integer. `[]` is any element of a list,
 * `{}` what stands under any key, `above` something that this is a part of.
 */
import type { Published } from "./Published.ts"
import { jsonSchema } from "./Published.ts"

/** What may stand in one place. */
interface Place {
  readonly types: ReadonlySet<string>
  readonly keys: ReadonlyMap<string, { readonly place: Place; readonly always: boolean }>
  readonly items: Place | undefined
  readonly more: Place | undefined
}

type Node = { readonly [key: string]: unknown }

const isNode = (value: unknown): value is Node => typeof value === "object" && value !== null && !Array.isArray(value)

const nodesOf = (value: unknown): ReadonlyArray<Node> => Array.isArray(value) ? value.filter(isNode) : []

const nothing: Place = { types: new Set(), keys: new Map(), items: undefined, more: undefined }

const eitherOf = (one: Place | undefined, other: Place | undefined): Place | undefined =>
  one === undefined ? other : other === undefined ? one : either(one, other)

/** What may stand where one or the other may. A key is always there where both have it always, or only one is an object. */
const either = (one: Place, other: Place): Place => {
  const bothHaveKeys = one.types.has("object") && other.types.has("object")
  const names = new Set([...one.keys.keys(), ...other.keys.keys()])
  return {
    types: new Set([...one.types, ...other.types]),
    keys: new Map([...names].map((name) => {
      const a = one.keys.get(name)
      const b = other.keys.get(name)
      const place = eitherOf(a?.place, b?.place) ?? nothing
      return [name, { place, always: (a?.always ?? !bothHaveKeys) && (b?.always ?? !bothHaveKeys) }]
    })),
    items: eitherOf(one.items, other.items),
    more: eitherOf(one.more, other.more)
  }
}

const placeOf = (node: Node, root: Node, within: ReadonlySet<string>): Place => {
  const reference = node["$ref"]
  if (typeof reference === "string") {
    const name = reference.slice("#/$defs/".length)
    // What stands in itself is described further up.
    if (within.has(name)) return { ...nothing, types: new Set(["above"]) }
    const definition = isNode(root["$defs"]) ? root["$defs"][name] : undefined
    return isNode(definition) ? placeOf(definition, root, new Set([...within, name])) : nothing
  }
  const inside = (each: Node) => placeOf(each, root, within)
  const [first, ...rest] = [...nodesOf(node["anyOf"]), ...nodesOf(node["oneOf"])].map(inside)
  if (first !== undefined) return rest.reduce(either, first)
  const { additionalProperties: more, items, properties, required, type } = node
  const always = new Set<unknown>(Array.isArray(required) ? required : [])
  return {
    types: new Set([typeof type === "string" ? type : "any"]),
    keys: new Map(
      Object.entries(isNode(properties) ? properties : {}).flatMap(([name, each]) =>
        isNode(each) ? [[name, { place: inside(each), always: always.has(name) }] as const] : []
      )
    ),
    items: isNode(items) ? inside(items) : undefined,
    more: isNode(more) ? inside(more) : undefined
  }
}

const linesOf = (place: Place, at: string, always: boolean): ReadonlyArray<string> => [
  `${at}${always ? "!" : ""} ${[...place.types].sort().join("|")}`,
  ...[...place.keys].flatMap(([name, key]) => linesOf(key.place, `${at}/${name}`, key.always)),
  ...(place.items === undefined ? [] : linesOf(place.items, `${at}[]`, false)),
  ...(place.more === undefined ? [] : linesOf(place.more, `${at}{}`, false))
]

/** The lines of a command's document. */
export const outline = (words: string, published: Published): ReadonlyArray<string> => {
  const schema = jsonSchema(words, published)
  return linesOf(placeOf(schema, schema, new Set()), `${words}: `, true)
}

/** All lines, as a file. */
export const outlines = (published: Readonly<Record<string, Published>>): string =>
  Object.entries(published).toSorted(([one], [other]) => one < other ? -1 : 1)
    .flatMap(([words, each]) => outline(words, each)).map((line) => `${line}\n`).join("")

interface Said {
  readonly always: boolean
  readonly types: ReadonlySet<string>
}

/** By place. */
const read = (text: string): ReadonlyMap<string, Said> =>
  new Map(
    text.split("\n").filter((line) => line !== "").map((line) => {
      const end = line.lastIndexOf(" ")
      const always = line[end - 1] === "!"
      return [line.slice(0, always ? end - 1 : end), { always, types: new Set(line.slice(end + 1).split("|")) }]
    })
  )

/** The promises of `before` that `after` breaks: what has gone, what is not always there any more, what may be something else. */
export const broken = (before: string, after: string): ReadonlyArray<string> => {
  const now = read(after)
  return [...read(before)].flatMap(([at, was]) => {
    const is = now.get(at)
    if (is === undefined) return [`${at} has gone`]
    const other = [...is.types].filter((type) => !was.types.has(type) && !was.types.has("any"))
    return [
      ...(was.always && !is.always ? [`${at} is not always there`] : []),
      ...(other.length > 0 ? [`${at} may be ${other.join(" or ")}`] : [])
    ]
  })
}
