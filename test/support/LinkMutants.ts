/** Damaged objects through the linker: what comes of them must be an object or a tagged error, soon. */
import * as Result from "effect/Result"
import * as fc from "fast-check"
import * as Linker from "../../src/linker/Linker.ts"
import * as Elf from "../../src/services/Elf/Elf.ts"
import * as Open from "../../src/stages/open/Open.ts"
import * as Mutate from "./Mutate.ts"
import { allFixtures, fixture, linkFixtures } from "./Require.ts"
import { cpuTime } from "./CpuTime.ts"

/** Every object of the fixtures, those to be linked included. */
export const subjects = (): ReadonlyArray<Mutate.Subject> =>
  [...allFixtures(), ...linkFixtures()].map((name) => Mutate.subject(name, fixture(name)))

/** How a link ended: `linked`, or the error's reason. Anything but a value or a `LinkError` with a message is thrown. */
export const judge = (inputs: ReadonlyArray<Linker.LinkInput>, options?: Linker.LinkOptions): string => {
  const linked = Linker.link(inputs, options)
  if (Result.isFailure(linked)) {
    const { failure } = linked
    if (!(failure instanceof Linker.LinkError)) throw new Error(`no LinkError: ${String(failure)}`)
    if (failure.message.length < 10 || failure.message.length > 20_000) {
      throw new Error(`a message of ${failure.message.length} characters: ${failure.message.slice(0, 200)}`)
    }
    return failure.reason
  }
  const { bytes } = linked.success
  const file = Elf.parse(bytes)
  if (Result.isFailure(file)) throw new Error(`the result is no ELF file: ${file.failure.message}`)
  // Whatever is in it, it opens or is refused with an error of the stage's own.
  Open.fromBytes(bytes, { path: "linked.o" })
  return "linked"
}

/** Times of links, by how they ended. */
export interface Ends {
  readonly counts: Map<string, number>
  slowest: number
}

/**
 * Links `count` mutants of a subject, each alone, before or behind an undamaged object, and counts how that ended. A mutant
 * that takes longer than the limit fails.
 */
export const linkMutants = (
  subject: Mutate.Subject,
  others: ReadonlyArray<Mutate.Subject>,
  count: number,
  ends: Ends
): void => {
  const partners = others.filter((other) => other.littleEndian === subject.littleEndian)
  fc.assert(
    fc.property(
      Mutate.edits,
      fc.nat(partners.length - 1),
      fc.constantFrom("alone", "first", "last"),
      (edits, at, place) => {
        const mutant = { name: "mutant.o", bytes: Mutate.apply(subject, edits, others) }
        const partner = { name: "partner.o", bytes: partners[at]?.bytes ?? subject.bytes }
        const inputs = place === "alone" ? [mutant] : place === "first" ? [mutant, partner] : [partner, mutant]
        const start = cpuTime()
        const end = judge(inputs, { relocatable: true })
        const taken = cpuTime() - start
        ends.slowest = Math.max(ends.slowest, taken)
        ends.counts.set(end, (ends.counts.get(end) ?? 0) + 1)
        if (taken > 5000) throw new Error(`${subject.name}: ${taken} ms, ${end}`)
      }
    ),
    { numRuns: count }
  )
}
