/**
 * The names of objects in the bpf file systems of this machine, for `--bpffs`.
 */
import * as Effect from "effect/Effect"
import * as Flag from "effect/cli/Flag"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Ref from "../../services/Kernel/Ref.ts"
import type { CallError } from "../../services/Kernel/KernelError.ts"
import { mounts } from "./Mounts.ts"
import type { Objects } from "./Objects.ts"

/** `--bpffs`: bpftool's flag. */
export const flag = Flag.Boolean("bpffs").pipe(
  Flag.withAlias("f"),
  Flag.withDescription("Show the paths that objects are pinned at"),
  Flag.withoutNegation,
  Flag.withDefault(false)
)

/** The most names that are looked at. */
const maximumNames = 1 << 16

/** Where bpf file systems are mounted. */
const folders = (): ReadonlyArray<string> => mounts().flatMap(({ folder, type }) => type === "bpf" ? [folder] : [])

/** The names below these folders: what cannot be read is passed over. */
const names = (folders: ReadonlyArray<string>): ReadonlyArray<string> => {
  const found: Array<string> = []
  const pending = [...folders]
  for (let folder = pending.pop(); folder !== undefined && found.length < maximumNames; folder = pending.pop()) {
    try {
      for (const entry of Fs.readdirSync(folder, { withFileTypes: true })) {
        const path = Path.join(folder, entry.name)
        if (entry.isDirectory()) pending.push(path)
        else if (entry.isFile()) found.push(path)
      }
    } catch {
      // Somebody else's folder, or gone.
    }
  }
  return found
}

/** The paths of each object of a kind, by identifier. */
export const find = Effect.fnUntraced(function*({ fresh, session }: Objects, kind: "Map" | "Prog" | "Link") {
  const pins = new Map<number, Array<string>>()
  const idOf = (path: string): Effect.Effect<number, CallError> =>
    Effect.gen(function*() {
      if (kind === "Map") {
        const map = Ref.map(fresh())
        yield* session.call({ _tag: "ObjGet", as: map, path })
        const { id } = yield* session.call({ _tag: "MapGetInfo", map })
        yield* session.call({ _tag: "Close", ref: map })
        return id
      }
      if (kind === "Link") {
        const link = session.fresh("Link")
        yield* session.call({ _tag: "ObjGet", as: link, path })
        const { id } = yield* session.call({ _tag: "LinkGetInfo", link })
        yield* session.call({ _tag: "Close", ref: link })
        return id
      }
      const prog = Ref.prog(fresh())
      yield* session.call({ _tag: "ObjGet", as: prog, path })
      const { id } = yield* session.call({ _tag: "ProgGetInfo", prog })
      yield* session.call({ _tag: "Close", ref: prog })
      return id
    })
  for (const path of names(folders())) {
    // Objects of another kind, and what is no object, are refused.
    const id = yield* Effect.orElseSucceed(idOf(path), () => undefined)
    if (id !== undefined) pins.set(id, [...(pins.get(id) ?? []), path])
  }
  return pins
})
