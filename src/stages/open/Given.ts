/**
 * Programs and maps that are loaded already, which the user gives to an object in place of one of its own.
 */

/** Something of the user's: what a descriptor of this process stands for, what is pinned at a path, what has an identifier. */
export type Given =
  /** It is used as it is and stays the user's: nothing closes it. */
  | { readonly _tag: "Descriptor"; readonly fd: number }
  | { readonly _tag: "Pin"; readonly path: string }
  | { readonly _tag: "Id"; readonly id: number }
  /** Whoever runs a loader program says which: loads without one have nothing there. */
  | { readonly _tag: "Later" }

/** Something by an open descriptor. */
export const descriptor = (fd: number): Given => ({ _tag: "Descriptor", fd })

/** Something by its name in a bpf file system. */
export const pin = (path: string): Given => ({ _tag: "Pin", path })

/** Something by its identifier, as `prog show` and `map show` list them. */
export const id = (id: number): Given => ({ _tag: "Id", id })

/** Something that whoever runs a loader program gives. */
export const later: Given = { _tag: "Later" }

/** Given things as a person names them. */
export const describe = (given: Given): string => {
  switch (given._tag) {
    case "Descriptor":
      return `descriptor ${given.fd}`
    case "Pin":
      return given.path
    case "Id":
      return `id ${given.id}`
    case "Later":
      return "what is given when the loader runs"
  }
}

/** What is wrong with what was given, before any kernel is asked; `undefined` where nothing is. */
export const complaint = (given: Given): string | undefined => {
  const isNumber = (value: number, lowest: number): boolean =>
    Number.isInteger(value) && value >= lowest && value <= 0x7fff_ffff
  switch (given._tag) {
    case "Descriptor":
      return isNumber(given.fd, 0) ? undefined : `${given.fd} is no descriptor`
    case "Pin":
      return given.path === "" || given.path.includes("\0")
        ? "the path of a pin is neither empty nor has a NUL"
        : undefined
    case "Id":
      return isNumber(given.id, 1) ? undefined : `${given.id} is no identifier`
    case "Later":
      return undefined
  }
}
