/**
 * What an object needs of the kernel, as data: `oldest` releases, and in `needs` each thing with its release and with what
 * needs it.
 */
import type * as Requirements from "../../diagnostics/Requirements.ts"
import { labelOf, lackingIn } from "../../diagnostics/requirements/Requirement.ts"
import type * as Documents from "../schemas/Requirements.ts"
import { clip } from "../text/Clip.ts"

const clipped = (text: string | undefined): string | null => text === undefined ? null : clip(text)

const useJson = (
  { function: inside, map, program, slot, source }: Requirements.Use
): typeof Documents.Requirement.Type.uses[number] => ({
  program: clipped(program),
  map: clipped(map),
  function: clipped(inside),
  insn: slot ?? null,
  file: clipped(source?.file),
  line: source?.line ?? null,
  column: source?.column ?? null,
  source: clipped(source?.text)
})

/** One thing that is needed. */
const requirementJson = (requirement: Requirements.Requirement): typeof Documents.Requirement.Type => {
  const { after, by, count, description, kind, module, name, otherwise, required, since, uses, when } = requirement
  return {
    kind,
    name: clip(name),
    description: clipped(description),
    module: clipped(module),
    since: since ?? null,
    after: after ?? null,
    by: by ?? null,
    when,
    required,
    otherwise: clipped(otherwise),
    count,
    uses: uses.map(useJson)
  }
}

/** The oldest kernel, and what says so. */
export const oldestJson = ({ because, open, release }: Requirements.Oldest): typeof Documents.Oldest.Type => ({
  release: release ?? null,
  because: because.map((each) => clip(labelOf(each))),
  open: open.map((each) => clip(labelOf(each)))
})

/** All that an object needs, and what of it a kernel of this release does not have. */
export const requirementsJson = (
  { all, attach, load }: Requirements.Requirements,
  release: string
): typeof Documents.Requirements.Type => ({
  oldest: { load: oldestJson(load), attach: oldestJson(attach) },
  lacking: lackingIn(all, release).map((each) => clip(labelOf(each))),
  needs: all.map(requirementJson)
})
