/** A refused program as JSON, in the document of a failure. */
import type { Explanation, Place } from "../../diagnostics/VerifierLogExplanation.ts"
import type { Json } from "./Json.ts"

const placeJson = (place: Place | undefined): Json =>
  place === undefined ? null : {
    file: place.file ?? null,
    line: place.line ?? null,
    column: place.column ?? null,
    text: place.text,
    start: place.caret?.start ?? null,
    end: place.caret?.end ?? null
  }

/** The document. What is not known is `null`. */
export const explanationJson = (explanation: Explanation): Json => ({
  cause: explanation.cause?.id ?? null,
  title: explanation.cause?.title ?? null,
  subject: explanation.cause?.subject ?? null,
  complaint: explanation.complaint,
  reason: explanation.reason ?? null,
  place: placeJson(explanation.place),
  instruction: explanation.instruction === undefined
    ? null
    : { at: explanation.instruction.at, text: explanation.instruction.text ?? null },
  known: explanation.known.map(({ name, text, words }) => ({ name, words, text })),
  related: explanation.related.map(({ at, place, what }) => ({ what, at, place: placeJson(place) })),
  path: explanation.path.map(({ at, condition, source, taken }) => ({
    at,
    condition,
    taken,
    place: placeJson(source)
  })),
  path_before: explanation.pathBefore,
  advice: explanation.advice ?? null
})
