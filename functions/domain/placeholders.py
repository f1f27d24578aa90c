"""Words in place of a sequence: databases, spreadsheets and languages write them for a missing value."""

import re

_WORDS = """
    - -- --- . .. ... ? ?? n/a n.a. n.a #n/a na n.d. n/d nd nan -nan nat none null nil void empty blank 
    missing undef undefined unknown unnamed unspecified undetermined undisclosed nothing
    nullptr ellipsis false true
    unavailable withheld deleted obsolete removed suppressed withdrawn redacted todo tbd tba pending error
    seq sequence proteinsequence aminoacidsequence aaseq peptide protein aminoacids placeholder noseq
    noprotein nosequence notfound nohit nohits nodata novalue nomatch noresult noresults nrow
    missingvalue missingsequence emptysequence emptystring unknownsequence undefinedsequence
    sequenceunavailable sequencenotavailable sequenceisnotavailable nosequenceavailable sequencemissing
    sequencenotfound sequenceunknown sequenceisunavailable notavailable notapplicable notdetermined
    notsequenced nottranslated notprovided notgiven notspecified notset notknown notyetavailable
    nottranslatable untranslated untranslatable cannottranslate translationunavailable translationnotavailable
    proteinsequenceunavailable proteinsequencenotavailable nosequencefound noproteinsequence
    noproteinsequenceavailable noproteinsequencefound seeabove seebelow asabove ditto
    character(0) na_character_ na_integer_ na_real_ <na> <nil> <null> <none> (null) (none) (nil) [null]
    [] {} () "" '' `` \\n b'' b"" seq('') [objectobject] system.dbnull system.object nonetype inf -inf
    #null! #ref! #value! #name? #div/0! #num! #getting_data #spill! #calc! #busy! #field! #blocked! #connect!
    #error! #unknown! #nv #bezug! #wert! #name? #zahl! #null! #div/0! #n/d #nd #nom? #nombre? #valeur! #valor!
    #nul! #nulo! #nome? #valore! #rif! #nombre! #num! #verw! #waarde! #naam? #getal! #leeg! #nb #n/b
    keine kein leer fehlend unbekannt nichtverfugbar nichtvorhanden vacio ninguno ninguna nulo desconocido
    nodisponible aucun aucune vide inconnu indisponible nondisponible nessuno vuoto sconosciuto
    """
PLACEHOLDERS = frozenset(_WORDS.split())

MAX_CHARACTERS = 60
"""Bytes; a longer text is no placeholder."""

_SEPARATORS = re.compile(r"[\s_:;,!*]+|(?<=[a-z])[.-](?=[a-z]{2}|$)")
_QUOTES = re.compile(r"""^[\s"'`]+(?=.)|(?<=.)[\s"'`]+$""", re.DOTALL)


def placeholder(text: str) -> bool:
    """True if all of a record's text stands for a missing sequence, in any case, quotes and blanks.

    >>> placeholder("Sequence unavailable"), placeholder("None"), placeholder('"#N/A"'), placeholder("NANA")
    (True, True, True, False)
    """
    if len(text) > MAX_CHARACTERS:
        return False
    plain = text.strip().casefold()
    bare = _QUOTES.sub("", plain)
    candidates = (plain, bare, _SEPARATORS.sub("", bare), re.sub(r"\s+", "", plain))
    return any(candidate in PLACEHOLDERS for candidate in candidates)
