/**
 * Attaching for light skeletons: programs as what their sections make of them. A generated module names the kinds that its object
 * has, and a bundler leaves the others out.
 *
 * What a kind needs of the object, the name of the program's section and its types in numbers, stands in the module; only the
 * probes of user programs read files of ELF, for that is where they go.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import { type AttachFailure, refuse } from "../attach/AttachError.ts"
import type { Link } from "../attach/Link.ts"
import { Kernel, type KernelShape, type Session } from "../services/Kernel/Kernel.ts"
import type { MapRef, ProgRef } from "../services/Kernel/Ref.ts"
import type { Kind } from "../skeleton/Kinds.ts"
import type { BpfObject, Program } from "../stages/open/BpfObject.ts"
import type { AutoAttach, SectionFlags } from "../stages/open/SectionDefinitions.ts"

export type { AttachFailure } from "../attach/AttachError.ts"
export { AttachError } from "../attach/AttachError.ts"
export type { Link } from "../attach/Link.ts"
export * from "../skeleton/Kinds.ts"

/** What is needed of a loaded skeleton. */
export interface Loaded {
  readonly session: Session
  readonly kernel: KernelShape
  /** The loader's map and program of these numbers. */
  readonly map: (number: number) => MapRef
  readonly program: (number: number) => ProgRef
  /** The loader's maps, by their names in C. */
  readonly mapNumber: (name: string) => number | undefined
}

/** What attaching asks of a program, as its object said it. */
export interface Description {
  /** Its number in the loader. */
  readonly number: number
  /** What it is called in C. */
  readonly name: string
  /** What SEC() says, without a leading `?`. */
  readonly section: string
  /** `BPF_PROG_TYPE_*` and `BPF_*` of attaching. */
  readonly type: number
  readonly expectedAttachType: number
  /** What the section's name says after its first `/`. */
  readonly attachTarget?: string
  /** How the section's name is read, where it says to what the program is attached. */
  readonly autoAttach: AutoAttach
}

/** A program that is attached to what its user says. */
export interface Attachable<in O> {
  readonly name: string
  readonly section: string
  /** The program in its session. */
  readonly ref: ProgRef
  /** Attaches it for as long as the scope. */
  readonly attach: (target: O) => Effect.Effect<Link, AttachFailure, Scope.Scope>
}

/** A program whose section says to what it is attached. */
export interface SelfAttaching<in O> extends Omit<Attachable<O>, "attach"> {
  /** Attaches it for as long as the scope; what is given counts instead of what its section says. */
  readonly attach: (target?: Partial<O>) => Effect.Effect<Link, AttachFailure, Scope.Scope>
}

/** What loads were told by the section's name does not matter any more. */
const noFlags: SectionFlags = {
  optionalAttachType: false,
  attachBtf: false,
  sleepable: false,
  xdpFrags: false,
  usdt: false
}

/** The program as attaching reads it; what only loads ask of a program is empty. */
const programOf = (described: Description): Program => {
  const { attachTarget, autoAttach, expectedAttachType, name, section, type } = described
  return {
    name,
    section,
    optional: false,
    sectionIndex: 0,
    sectionSlot: 0,
    sectionSlots: 0,
    insns: new Uint8Array(0),
    relocations: [],
    entry: true,
    global: true,
    hidden: false,
    autoload: true,
    type,
    expectedAttachType,
    flags: 0,
    ifindex: 0,
    definition: { pattern: section, programType: type, expectedAttachType, flags: noFlags, autoAttach },
    attachTarget,
    logLevel: 0
  }
}

const objectOf = (program: Program): BpfObject => ({
  name: program.name,
  byteOrder: "little",
  license: "",
  kernelVersion: undefined,
  programs: [program],
  maps: [],
  externs: [],
  btf: undefined,
  btfExt: undefined,
  notes: []
})

/**
 * The kernel, which is not asked for its features: looking for them would need more than a light skeleton brings along. A kernel
 * that runs loaders has them, but for the oldest, which then says no by itself.
 */
const withoutFeatures = (kernel: KernelShape): KernelShape => ({
  ...kernel,
  ask: (requirements) => kernel.ask(requirements.filter(({ _tag }) => _tag !== "Feature"))
})

const attacher = <O, C>(loaded: Loaded, described: Description, kind: Kind<O, C>) => (options: O) => {
  const program = programOf(described)
  const ref = loaded.program(described.number)
  const attaching = {
    object: objectOf(program),
    session: loaded.session,
    program: () => ref,
    map: (name: string) => {
      const number = loaded.mapNumber(name)
      return number === undefined ? undefined : loaded.map(number)
    }
  }
  return loaded.session.exists(ref)
    ? Effect.provideService(kind.attach(attaching, program, options), Kernel, withoutFeatures(loaded.kernel))
    : Effect.fail(
      refuse({ kind: kind.name, target: "", program: program.name }, "NotLoaded", "the program is not loaded")
    )
}

/** A program that is attached to what its user says. */
export const attachable = <O, C>(loaded: Loaded, described: Description, kind: Kind<O, C>): Attachable<O> => ({
  name: described.name,
  section: described.section,
  ref: loaded.program(described.number),
  attach: attacher(loaded, described, kind)
})

/** A program whose section says to what it is attached. */
export const selfAttaching = <O, C>(
  loaded: Loaded,
  described: Description,
  kind: Kind<NoInfer<Partial<O>>, C>
): SelfAttaching<O> => {
  const attach = attacher(loaded, described, kind)
  return {
    name: described.name,
    section: described.section,
    ref: loaded.program(described.number),
    attach: (target = {}) => attach(target)
  }
}
