/**
 * Loads objects for callers of promises: the stages of the library, in the lifetime of a kernel.
 */
import * as Effect from "effect/Effect"
import { mapTypeName, progTypeName } from "../../services/Kernel/abi/BpfConstants.ts"
import { type LoadedObject, toLoaded } from "../../stages/load/Execute.ts"
import * as Globals from "../../stages/load/Globals.ts"
import * as Plan from "../../stages/load/Plan.ts"
import { type BpfObject, entryPrograms, findMap, findProgram, type Program } from "../../stages/open/BpfObject.ts"
import { variables } from "../../stages/open/Variables.ts"
import * as Relocate from "../../stages/relocate/Relocate.ts"
import * as TestRun from "../../testing/TestRun.ts"
import { ClosedError, NotLoadedError } from "../Errors.ts"
import type { Kernel } from "../Kernel.ts"
import type { Loaded, LoadedGlobals, LoadedProgram } from "../Loaded.ts"
import type { RequestOptions, Resource } from "../Resource.ts"
import * as Attaching from "./Attaching.ts"
import { events } from "./Events.ts"
import { live, lifetimeOf, simulated } from "./Kernels.ts"
import { extend, type Lifetime, resource } from "./Lifetime.ts"
import { map } from "./Maps.ts"

/** What a load is told besides the object. */
export interface LoadOptions extends RequestOptions {
  readonly kernel: Kernel | "live" | "simulated"
  readonly token?: string
}

const execute = (object: BpfObject, token: string | undefined) =>
  Effect.gen(function*() {
    const planned = yield* Plan.plan.run(yield* Relocate.relocate.run(object))
    return yield* toLoaded(planned, token === undefined ? {} : { token })
  })

const notLoaded = (kind: NotLoadedError["kind"], name: string, known: boolean, names: ReadonlyArray<string>) =>
  new NotLoadedError({
    kind,
    name,
    detail: known ? "the load did not take it" : `the object has no such ${kind}`,
    ...(names.length === 0 ? {} : { hint: `there are ${names.slice(0, 20).join(", ")}` })
  })

const programOf = (own: Lifetime, loaded: LoadedObject, { name, section, type }: Program): LoadedProgram => {
  const run = TestRun.run(loaded)
  return {
    name,
    section,
    type: progTypeName(type),
    run: ({ signal, ...input } = {}) => own.run(run(name, input), signal),
    attach: (target, { signal } = {}) => Attaching.attach(own, loaded, name, target, signal)
  }
}

const globalsOf = (own: Lifetime, loaded: LoadedObject): LoadedGlobals => {
  // Sections are mapped when somebody asks for the first variable, once.
  let opening: Promise<Globals.Globals> | undefined
  const opened = (): Promise<Globals.Globals> => {
    opening ??= own.run(Globals.open(loaded))
    opening.catch(() => {
      opening = undefined
    })
    return opening
  }
  return {
    names: variables(loaded.object).map(({ name }) => name),
    get: async (name, { signal } = {}) => own.run((await opened()).get(name), signal),
    set: async (name, value, { signal } = {}) => own.run((await opened()).set(name, value), signal)
  }
}

const handle = (own: Lifetime, kernel: Kernel, close: () => Promise<void>, loaded: LoadedObject): Loaded => {
  const { object } = loaded
  const programs = entryPrograms(object).filter(({ name }) => loaded.program(name) !== undefined)
    .map((program) => programOf(own, loaded, program))
  const maps = object.maps.filter(({ name }) => loaded.map(name) !== undefined).map(({ name }) => name)
  const created = (name: string) => {
    // A closed object has no maps any more, which is not for want of a load.
    if (own.isClosed()) throw new ClosedError({ subject: own.subject })
    const definition = findMap(object, name)
    const ref = loaded.map(name)
    if (definition === undefined || ref === undefined) throw notLoaded("map", name, definition !== undefined, maps)
    return { definition, ref, type: mapTypeName(definition.attr.type) }
  }
  return extend(
    resource({ isClosed: own.isClosed, close }),
    {
      name: object.name,
      programs,
      maps,
      kernel,
      globals: globalsOf(own, loaded),
      program: (name: string) => {
        const found = programs.find((program) => program.name === name)
        if (found !== undefined) return found
        throw notLoaded(
          "program",
          name,
          findProgram(object, name) !== undefined,
          programs.map((program) => program.name)
        )
      },
      map: map(own, loaded, created),
      events: events(own, loaded, created),
      attach: (options = {}) => Attaching.attachAll(own, loaded, options)
    } satisfies Omit<Loaded, keyof Resource>
  )
}

/** Loads an object into the kernel that it is given, or into one of its own. */
export const load = async (object: BpfObject, { kernel, signal, token }: LoadOptions): Promise<Loaded> => {
  const request = signal === undefined ? {} : { signal }
  const isOwn = typeof kernel === "string"
  const into = kernel === "live" ? await live(request) : kernel === "simulated" ? await simulated(request) : kernel
  const lifetime = lifetimeOf(into)
  if (lifetime === undefined) throw new TypeError("kernel is none that Bpf.live() or Bpf.simulated() has opened")
  try {
    const { own, value } = await lifetime.acquire(`the object ${object.name}`, execute(object, token), signal)
    return handle(own, into, isOwn ? into.close : own.close, value)
  } catch (error) {
    if (isOwn) await into.close()
    throw error
  }
}
