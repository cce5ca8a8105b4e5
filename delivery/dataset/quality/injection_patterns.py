"""What texts say that instruct a judge or a model. All is matched against text in lower case and without accents."""

from __future__ import annotations

import re
from typing import NamedTuple

OVERRIDE = "sets instructions aside"
JUDGE = "asks a judge for a verdict"
VERDICT = "poses as a judge's verdict"
TOKENS = "marks turns as chat templates do"
HIDDEN = "hides characters"
LEAK = "asks for the prompt"
ROLE = "gives the model another role"
DICTATES = "dictates the model's answer"


class Pattern(NamedTuple):
    """``needs``: without one of these, a text is not searched, which spares most texts most patterns."""

    kind: str
    needs: tuple[str, ...]
    regex: re.Pattern[str]


def _pattern(kind: str, needs: str, regex: str) -> Pattern:
    return Pattern(kind, tuple(needs.split("|")), re.compile(regex, re.VERBOSE))


_RULES = r"(?:instructions?|prompts?|rules|directives?|guidelines|commands|constraints|restrictions|protocols?)"
_FORMER = r"(?:previous|prior|earlier|above|preceding|original|initial|former|foregoing|old|system|given)"
_READER = r"(?:evaluator|grader|judge|reviewer|rater|scorer|assessor)s?"
_REPLY = r"(?:answer|response|output|submission|completion|reply)"
_MODEL = (
    r"(?:ai|ai\s(?:model|assistant|system|agent|grader|judge)|language\s+model|llm|chatgpt|chatbot|gpt-?\d?|classifier"
    r"|assistant)"
)
_LIMITS = (
    r"(?:restrictions?|filters?|filtering|limitations?|limits|guidelines|constraints?|guardrails?|safeguards?|rules|polic(?:y|ies)"
    r"|protocols?|safety\s+checks|safety\s+measures|moral\s+considerations)"
)

PATTERNS = (
    _pattern(
        OVERRIDE,
        "instru|prompt|rules|directive|guideline|command|constrain|restrict|protocol|system",
        rf"""(?<!\bi\s)(?<!\bnot\s)(?<!\bto\s)\b(?:ignore|disregard|forget|override|overrule|bypass|skip|drop|clear|set\s+aside)\s+
        (?:about\s+|your\s+memory\s+of\s+)?(?:
        (?:(?:all|any|every|whatever|your)\s+)+(?:of\s+)?(?:(?:the|your|these|those)\s+)?(?:(?:{_FORMER}|\w+)\s+){{0,2}}{_RULES}\b|
        (?:(?:the|these|those)\s+)?(?:{_FORMER}\s+){{1,2}}(?:{_RULES}|(?<=system\s)message)\b|
        (?:the|these|those)\s+{_RULES}\s+(?:above|before\s+this|you\s+(?:were|have\s+been)\s+given)\b)|
        \bsystem\s+override\b""",
    ),
    _pattern(
        OVERRIDE,
        "above|before|you were|you have|you know",
        r"""(?<!\bi\s)(?<!\bto\s)\b(?:ignore|disregard|forget|never\s?mind)\s+(?:about\s+)?
        (?:(?:everything|all|anything)\s+(?:that\s+)?(?:is\s+)?(?:above|before|you\s+(?:were|have\s+been|are|know|learned))\b|
        what\s+you\s+(?:were|have\s+been)\s+(?:told|instructed|taught))""",
    ),
    _pattern(
        OVERRIDE,
        "follow|obey|attention|listen",
        rf"""(?:\b(?:do\s+not|don't|stop|never)\s+(?:follow(?:ing)?|obey(?:ing)?|listen(?:ing)?\s+to)|\bpay\s+no\s+attention\s+to)
        \s+(?:(?:the|your|any|all)\s+)*(?:{_FORMER}\s+(?:{_RULES}|messages?)|developer\s+message|{_RULES}\s+(?:above|you))|
        \byou\s+(?:no\s+longer|do\s+not|don't)\s+have\s+to\s+(?:follow|obey)\s+(?:(?:any|the|your|these)\s+)*{_RULES}""",
    ),
    _pattern(
        OVERRIDE,
        "instru|rules",
        rf"""\b(?:new|real|actual|updated)\s+(?:(?:system|developer)\s+)?(?:instructions|rules)(?:\s+are)?:|
        \b(?:{_FORMER}\s+instructions|instructions\s+above)\s+(?:are|were|have\s+been)\s+(?:now\s+)?
        (?:cancell?ed|outdated|void|invalid|revoked|replaced|superseded|no\s+longer)|
        \binstructions\s+you\s+(?:received|got)\s+(?:before|earlier)\b""",
    ),
    _pattern(
        JUDGE,
        "answer|respon|output|submission|completion|reply",
        rf"""\b(?:give|award|assign|rate|score|grade|mark|receives?|get)\b[^.!?\n]{{0,40}}\b(?:this|the|my)\s+
        (?:\w+\s+)?{_REPLY}\b[^.!?\n]{{0,40}}(?:scores?\b|\b10\b|\d+\s?/\s?\d+|full\b|max|highest|perfect|correct\b|best\b|100)|
        \b(?:highest|maximum|perfect|full|best|top)\s+(?:possible\s+)?(?:score|rating|grade|marks|points)\b[^.!?\n]{{0,40}}
        \b{_REPLY}\b|\b(?:this|the)\s+{_REPLY}\b[^.!?\n]{{0,30}}\b(?:maximum|highest|perfect|full|top)\s+(?:possible\s+)?
        (?:score|rating|grade|marks|points)|
        \b(?:score|rate|grade)\s+(?:this|the\s+(?:other|first|second))\s+{_REPLY}\s+(?:an?\s+)?\d""",
    ),
    _pattern(
        JUDGE,
        "evaluat|grad|judg|reviewer|rater|scorer|assessor",
        rf"""\b(?:as|dear|to\s+(?:the|any|all)|for\s+(?:the|any|all)|attention|are)\s+
        (?:(?:the|an?|any|all|fair|impartial|automated|ai|llm|language|model)\s+)*{_READER}\b[^\n]{{0,80}}
        \b(?:choose|select|pick|prefer|rate|scores?|award|assign|output|declare|must|correct|points|winner|verdict|marks)\b|
        \b{_READER}\b,?\s+(?:must|should|shall|will|has\s+to|have\s+to|please|always|instructions:|to\s+follow)[^.!?\n]{{0,20}}
        \s*(?:mark|select|choose|pick|prefer|rate|score|award|give|assign|declare|output)\b|
        \b{_READER}\s+note\s*:""",
    ),
    _pattern(JUDGE, "[[", r"\[\[\s*(?:[a-d]|tie|rating:?\s*\d+|\d+)\s*\]\]"),
    _pattern(
        JUDGE,
        "evaluat|judg|grad|verdict|scoring|reviewing",
        r"""\b(?:evaluat\w+|verdict|grader|grading|judge)\b[^\n]{0,80}\b(?:score|rating)\s*[:=]\s*\d|
        \bwhen\s+(?:grading|judging|evaluating|scoring)\b[^.!?\n]{0,40}\b(?:prefer|choose|always|rate|give)\b|
        \b(?:ai|model|llm|if\s+you)\s+(?:(?:that\s+)?(?:is|are)\s+)?(?:an?\s+ai\s+)?(?:evaluating|grading|judging|scoring|reviewing)\b|
        \bautomated\s+(?:evaluation|grading|scoring)\b""",
    ),
    _pattern(
        JUDGE,
        "answer|respon|assistant|model|llm|ai |automated",
        r"""\b(?:choose|select|pick|prefer|declare)\s+(?:answer|response|assistant|output|model)\s+(?:[a-d]|\d)\b|
        \b(?:assistant|response)\s+[a-d]\s+is\s+(?:the\s+)?(?:better|best|worse|wrong|right|superior|winner)|
        \b(?:llm|language\s+model|ai|automated)\s+(?:judges?|graders?|evaluators?|reviewers?|raters?)\b""",
    ),
    _pattern(
        VERDICT,
        "winner|response|assistant",
        r"""\bwinner\b["']?\s*(?:is|:|=)\s*["']?(?:(?:response|assistant|answer|output)\s+[ab]\b|b\b|a(?=\s*["'.}\n]|$))|
        \b(?:response|assistant)\s+[ab]\s+(?:wins|must\s+win|should\s+win|is\s+superior|(?:shows|demonstrates)\s+(?:superior|better))|
        \b(?:select|choose|pick|prefer)\s+this\s+(?:response|submission)\b(?!\s+(?:time|option))|
        \bthis\s+(?:response|submission|completion)\s+(?:should|must|has\s+to)\s+(?:pass|win|be\s+(?:selected|chosen|preferred))""",
    ),
    _pattern(
        VERDICT,
        "evaluat|grader|judge",
        rf"""\bevaluation\s+(?:override|complete\b[^\n]{{0,10}}\n\s?winner)|\bnew\s+evaluation\s+criteria\b|
        \bevaluation(?:\s+result)?\s*:\s*(?:pass|correct)\b|\[{_READER}\]|\b(?:evaluator|grader)(?:'s)?\s+(?:output|verdict|decision)\s*:|
        \bas\s+the\s+(?:expert|senior|lead|official)\s+{_READER}\b""",
    ),
    _pattern(
        TOKENS,
        "<|inst]|sys>|_of_turn>|system|assistant|im_start|im_end",
        r"""<\|\w{2,40}\|>|\[/?inst\]|<</?sys>>|<(?:start|end)_of_turn>|```system\b|\#{2,6}[ ]?system\s?\#|
        (?:(?:^|\n)[ ]*<|</)(?:system|assistant|system[_-]prompt|system[_-]message)>|</?im_(?:start|end)>|\{\{\s*system\s*:""",
    ),
    _pattern(
        TOKENS,
        "system|assistant|##",
        r"""(?:^|\n)[ ]*(?:\#{2,6}[ ]?(?:instructions?|response|system|assistant)\s*:|\**(?:assistant|ai\s+assistant)\**\s*:|
        [\[*]*system(?:\s+(?:message|prompt))?[\]*]*\s*:\s*(?:you|from\s+now|always|never|ignore|disregard|
        the\s+(?:user|assistant)|new\s|override|answer|respond|classify)|\[system\]\s*:?\s*(?:override|ignore|you\s))""",
    ),
    _pattern(
        LEAK,
        "prompt|instru|above|before|system",
        r"""\b(?:repeat|print|reveal|show|output|display|leak|disclose|echo|verify|quote|write\s+out|tell\s+me|give\s+me)\b
        [^.!?\n]{0,60}\b(?:system\s+(?:prompts?|message|instructions?)|(?:hidden|initial|secret)\s+(?:prompt|instructions?)|
        (?:prompt|instructions)\s+(?:that\s+)?you\s+were\s+given|(?:everything|text|words|all)\s+above\s+this)\b|
        \b(?:repeat|print|output)\s+(?:everything\s+(?:above|before)|(?:all\s+)?(?:the\s+)?(?:words|text|lines)\s+above)\b|
        \b(?:quote|recite|reveal|leak)\s+your\s+(?:\w+\s+)?instructions\b|
        \b(?:what|which)\s+(?:is|are|was|were)\s+(?:[\w\s]{0,20}\bin\s+)?your\s+(?:\w+\s+)?
        (?:system\s+(?:prompt|message|instructions?)|prompt|initial\s+instructions)\b|
        \byour\s+(?:(?:full|entire|complete|exact|own|raw)\s+)?system\s+prompt\b(?!s)""",
    ),
    _pattern(
        ROLE,
        "you are|you will|from now on|pretend|act as|roleplay|respon|simulate|without|with no",
        rf"""\byou\s+are\s+dan\b|\byou\s+are\s+now\s+(?:dan\b|an?\s+(?:unrestricted|uncensored|unfiltered)\b|an?\s+(?:\w+\s+)?(?:ai|assistant|model|bot|chatbot|language\s+model)\b|
        (?:operating\s+)?in\s+\w+\s+mode|(?:the\s+)?(?:administrator|admin|root)\b)|
        \byou\s+are\s+the\s+administrator\b|\byou\s+are\s+no\s+longer\s+an?\s+(?:\w+\s+)?(?:ai|assistant|model|chatbot)\b|
        \bfrom\s+now\s+on,?\s+you\s+(?:are\s+an?\s|will\s+(?:only|always|never|act|pretend)|
        only\s+(?:speak|answer|respond|reply)|must\s)|
        \b(?:pretend|act|roleplay|role-play|simulate\s+being)\s+(?:(?:that|to\s+be|as|if|you\s+are|you\s+have)\s+)*
        (?:an?\s+|no\s+)?(?:\w+\s+)?(?:ai|language\s+model|chatbot|dan|restrictions|limits|unrestricted|uncensored|
        unfiltered|jailbroken|evil)\b|
        \b(?:ai|assistant|model|chatbot)\s+(?:without|with\s+no)\s+(?:any\s+)?(?:\w+\s+)?{_LIMITS}|
        \b(?:act|roleplay|respond|pretend|simulate|you\s+are)\b[^\n]{{0,120}}\b
        (?:no|any|without|without\s+any|freed\s+from\s+all)\s+(?:(?:content|safety|ethical|moral)\s+)+{_LIMITS}""",
    ),
    _pattern(
        ROLE,
        "mode|filter|guardrail|polic|safe|restrict|guideline|limit|rules|constrain|protocol|without",
        rf"""\b(?:enter|enable|activate|switch\s+to)\s+(?:developer|debug|god|dan|jailbreak|sudo|admin)\s+mode|
        \b(?:disable|bypass|turn\s+off|override|disregard|ignore)\s+(?:(?:all|any|of|active|the)\s+)*
        (?:your\s+(?:\w+\s+)?|(?:safety|ethical)\s+){_LIMITS}|
        \b(?:answer|respond|reply|comply)\b[^.!?\n]{{0,40}}\bwithout\s+(?:any\s+)?(?:\w+\s+)?
        (?:restrictions?|filters?|limitations?|refusal|exceptions?|safety\s+checks)\b|\bsafety\s+(?:checks|filters?)\s+(?:are\s+)?
        (?:disabled|off)\b""",
    ),
    _pattern(
        DICTATES,
        "answer|respon|reply|output",
        r"""(?:^|[.!?:;,>\n][ ]*|\bmust\s+|\bshould\s+|\bplease\s+|\band\s+)(?:always\s+|only\s+)*
        (?:answer|respond|reply|output)\s+
        (?:always\s+|only\s+|exactly\s+|just\s+)*(?:with\s+)?(?:only\s+|exactly\s+)?(?:the\s+|one\s+)?
        (?:label|word|category|class|string|(?<!reply\s)['"‘’“”«]\s?\w[^'"‘’“”»\n]{0,40}['"’”»])""",
    ),
    _pattern(
        DICTATES,
        "regardless of|no matter what|whatever the",
        rf"""\b(?:answer|respond|reply|rate|score|say|output|classify|label)\b[^\n]{{0,60}}
        (?:regardless\s+of\s+(?:the|its|what)\s+(?:question|content|input|text|{_REPLY})|no\s+matter\s+what)|
        \bwhatever\s+the\s+(?:question|input|text)\b[^.!?\n]{{0,30}}\b(?:answer|respond|reply|say|output)\b""",
    ),
    _pattern(
        DICTATES,
        "model|llm|gpt|chatbot|classifier|assistant|ai:|ai,|ai ",
        rf"""\b(?<!-)(?:dear\s+|hey\s+|note\s+(?:to|for)\s+|attention\s+)?(?:the\s+|any\s+)?{_MODEL}\s*[:,]\s*(?:please\s+|you\s+)?
        (?:must|always|the\s+correct|classify|set|approve|mark|label|answer|respond|give|ignore|output|say|treat|assign)\b""",
    ),
    _pattern(
        DICTATES, "label is|class is|category is", r"\b(?:correct|right|true|expected)\s+(?:label|class|category)\s+is\s+\w"
    ),
    _pattern(
        OVERRIDE,
        "anweisung|instru|istru|regel|regl|regol|regras|poleceni",
        r"""(?<!\ba\s)(?<!\bai\s)(?<!\bont\s)\b(?:ignorier\w*|vergiss|vergessen\s+sie|missachte\w*|ignora|ignore|ignorez|ignoren|olvida|oubliez?|oublie|dimentica|
        esqueca|negeer|vergeet|zignoruj|ignoruj|zapomnij|pomin)\s+(?:sie\s+|bitte\s+|o\s+)*
        (?:(?:alle[nr]?|all|tod[ao]s|tou(?:te)?s|tutte|tutti|wszystkie(?:ch)?|as|las|les|le|los|die|de|deine|tus|tes|vos|suas)\s+)*
        (?:(?:vorherig|bisherig|obig|vorangehend|fruher|vorige|eerdere|poprzednie|wczesniejsze)\w*\s+)?
        (?:anweisungen|instruktionen|regeln|instrucciones|reglas|instructions|regles|istruzioni|regole|instrucoes|regras|
        instructies|regels|instrukcje|instrukcjach|polecenia)\s+(?!zum\b|fur\b|para\b|pour\b|per\b|voor\b|do\b)""",
    ),
    _pattern(
        OVERRIDE,
        "игнор|забудь|忽略|无视|無視|무시|تجاهل|bo qua",
        r"""(?:про)?игнорируи(?:те)?\s+(?:все\s+|любые\s+)?(?:предыдущие|прежние|прошлые)\s+(?:инструкции|указания|правила)|
        забудь(?:те)?\s+(?:все\s+|про\s+)*(?:предыдущие|прежние|прошлые)\s+(?:инструкции|указания|правила)|
        (?:忽略|无视|無視)[^。\n]{0,6}(?:所有|之前|以上|上述|先前|前面)[^。\n]{0,6}(?:指令|指示|提示|规则|規則)|
        (?:以前|これまで|上記|前|すべて)[^。\n]{0,6}(?:指示|命令|プロンプト)[^。\n]{0,6}無視(?:して|し、|せよ|しろ)|
        (?:이전|위|모든)[^.\n]{0,8}(?:지시|명령|지침)[^.\n]{0,6}무시(?:하|해)|
        تجاهل\s+(?:جميع|كل)\s+التعليمات|\bbo\s+qua\s+(?:moi|tat\s+ca)\s+(?:cac\s+)?(?:huong\s+dan|chi\s+dan|lenh)\b""",
    ),
    _pattern(
        JUDGE,
        "punkt",
        r"""\b(?:als\s+(?:bewerter|gutachter|richter|prufer|juror)\w*\s+(?:musst|sollst|gib|vergib)|
        (?:gib|vergib|geben\s+sie)\s+(?:dieser|der)\s+antwort)[^.!?\n]{0,60}punkt|\bgib\s+(?:mir\s+)?die\s+volle\s+punktzahl""",
    ),
)
