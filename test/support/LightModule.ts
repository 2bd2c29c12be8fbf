/** Generated TypeScript skeletons in a folder of their own, with the packages of this repository beside them. */
import * as Effect from "effect/Effect"
import * as Fs from "node:fs"
import * as Path from "node:path"
import * as Open from "../../src/stages/open/Open.ts"
import * as LightSkeletonTs from "../../src/stages/gen/LightSkeletonTs.ts"
import { recordObject } from "./LoadersBeside.ts"
import { fixture, repository, temporaryFolder } from "./Require.ts"

/** The runtime's source, for modules that are imported here. */
export const runtime: string = Path.join(repository, "src/light.ts")

/** The module of a fixture; fails where no loader can be made of it. */
export const textOf = Effect.fnUntraced(function*(file: string, from?: string): Effect.fn.Return<string, unknown> {
  const object = yield* Effect.fromResult(Open.fromBytes(fixture(file), { path: file }))
  const loader = yield* recordObject(object)
  const options = { name: LightSkeletonTs.nameOfFile(file), ...(from === undefined ? {} : { runtime: from }) }
  return yield* Effect.fromResult(LightSkeletonTs.make(object, loader, options))
})

/** A new folder in which packages are found. */
export const folder = (): string => {
  const made = Fs.mkdtempSync(Path.join(temporaryFolder(), "light-"))
  Fs.symlinkSync(Path.join(repository, "node_modules"), Path.join(made, "node_modules"))
  Fs.writeFileSync(Path.join(made, "package.json"), "{ \"type\": \"module\" }")
  return made
}
