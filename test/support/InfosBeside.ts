/**
 * What the kernel made of one object, loaded by us and by libbpf: its infos of both, field by field.
 */
import type { OurLoad } from "./LoadOurs.ts"
import type { Loaded } from "./Peer.ts"

/** One field in which the kernel's info of our program or map is not what it is of libbpf's. */
export interface InfoDifference {
  /** `program count`, `map counters`, or `programs` and `maps` for their names in order. */
  readonly at: string
  readonly field: string
  readonly ours: string
  readonly libbpf: string
}

/** Nothing is told as null by the peer, and as no bytes by us. */
const text = (value: unknown): string => value === null ? "\"\"" : JSON.stringify(value)

const compare = (
  what: string,
  ours: ReadonlyArray<{ readonly name: string; readonly kernel: object }>,
  libbpf: ReadonlyArray<{ readonly name: string; readonly kernel?: object }>
): ReadonlyArray<InfoDifference> => {
  const loaded = libbpf.flatMap(({ kernel, name }) => kernel === undefined ? [] : [{ name, kernel }])
  const names = (items: ReadonlyArray<{ readonly name: string }>): string => items.map(({ name }) => name).join(" ")
  if (names(ours) !== names(loaded)) {
    return [{ at: `${what}s`, field: "names", ours: names(ours), libbpf: names(loaded) }]
  }
  return ours.flatMap(({ kernel, name }, index) => {
    const fields: ReadonlyMap<string, unknown> = new Map(Object.entries(loaded[index]?.kernel ?? {}))
    return Object.entries(kernel).filter(([field, value]) => text(value) !== text(fields.get(field))).map((
      [field, value]
    ) => ({
      at: `${what} ${name}`,
      field,
      ours: text(value),
      libbpf: text(fields.get(field))
    }))
  })
}

/** The differences of all infos; both loads must have succeeded. */
export const infoDifferences = (ours: OurLoad, libbpf: Loaded): ReadonlyArray<InfoDifference> => [
  ...compare("program", ours.programs, libbpf.programs ?? []),
  ...compare("map", ours.maps, libbpf.maps ?? [])
]
