"""An organism's kingdom is told where its name says so, and never guessed."""

import pytest

from functions.domain.organisms import kingdom_of, kingdom_of_header

HEADERS = {
    # UniProt, with and without the number; UniRef; NCBI, with brackets inside; and only a number
    "sp|P0A6Y8|DNAK_ECOLI Chaperone protein DnaK OS=Escherichia coli (strain K12) OX=83333 GN=dnaK PE=1 SV=2": "bacteria",
    "tr|M1IM54|M1IM54_9CREN 30S ribosomal protein S9 OS=Sulfolobus acidocaldarius N8 GN=rps9p PE=3 SV=1": "archaea",
    "UniRef50_A0A5A9P0L4 peptidylprolyl isomerase n=1 Tax=Triplophysa tibetana TaxID=1572043 RepID=X": "animals",
    "UniRef90_P12345 Aminotransferase n=3 Tax=Oryctolagus cuniculus TaxID=9986 RepID=AATM_RABIT": "animals",
    "NP_387882.1 initiator ATPase [Bacillus subtilis subsp. subtilis str. 168]": "bacteria",
    "XP_028889033.1 hypothetical protein CA7LBN_003922 [[Candida] auris]": "fungi",
    "lcl|1 something [organism=Arabidopsis thaliana]": "plants",
    "Q9GZZ6 OX=9606 INTERACTOR=O92284": "animals",
    "tr|A0A0B4J2F0|X OS=Enterobacteria phage T4 OX=10665": "viruses",
    "sp|P03366|POL_HV1B1 Gag-Pol polyprotein OS=Human immunodeficiency virus type 1 group M (isolate BH10) OX=11678": "viruses",
    # nothing is known, or the brackets hold no organism
    "sp|P00441|SODC_HUMAN Superoxide dismutase [Cu-Zn]": "",
    "tr|X|X_Y Toxin OS=Phyllomedusa tarsius OX=8400": "",
    "protein 1 [Escherichia coli] putative": "",
    "GN=OS=": "",
    "": "",
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_names_its_organism_in_its_databases_way(header: str) -> None:
    assert kingdom_of_header(header) == HEADERS[header]


@pytest.mark.parametrize(
    ("name", "kingdom"),
    [
        ("Bacillus subtilis", "bacteria"),
        ("Bacillus rossius", "animals"),  # a stick insect of the same name
        ("Paracoccus denitrificans", "bacteria"),
        ("Candidatus Nitrosopumilus", "bacteria or archaea"),
        ("uncultured bacterium", "bacteria"),
        ("Thermococcales archaeon 44_46", "archaea"),
        ("Acanthamoeba polyphaga mimivirus", "viruses"),
        ("Plasmodium falciparum (isolate 3D7)", "eukaryotes"),
        ("Saccharomyces cerevisiae", "fungi"),
        ("Homo", "animals"),
        ("562", "bacteria"),
        ("Fungi", "fungi"),
        ("homo sapiens", ""),  # a genus begins with a capital
        ("Nomen nescio", ""),
        ("", ""),
    ],
)
def test_a_name_says_its_kingdom_or_nothing(name: str, kingdom: str) -> None:
    assert kingdom_of(name) == kingdom
