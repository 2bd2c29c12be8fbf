/**
 * The text of `token`.
 */
import type { Delegation } from "../objects/Delegations.ts"
import { clip } from "./Clip.ts"
import { blank, type Line, line, span, wrapped } from "./Text.ts"

const kindText = (name: string, allowed: ReadonlyArray<string>): Line =>
  wrapped(4, `  ${name}: `, allowed.length === 0 ? span("dim", "none") : clip(allowed.join(" ")))

/** File systems, each with what it delegates. */
export const tokensText = (all: ReadonlyArray<Delegation>): ReadonlyArray<Line> =>
  all.length === 0 ? [line("no bpf file system here delegates anything")] : all.flatMap((
    { attachTypes, commands, folder, maps, programs },
    at
  ) => [
    ...(at === 0 ? [] : [blank]),
    line(span("name", clip(folder))),
    kindText("commands", commands),
    kindText("maps", maps),
    kindText("programs", programs),
    kindText("attach types", attachTypes)
  ])
