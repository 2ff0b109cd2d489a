"""Lines that Facebook and Instagram write in people's names: 'Theo changed the theme to Love.' The way is: text -> is it one?

Such a line is a whole sentence, full stop included, whose subject is one of the chat or 'You': what follows the subject is in ABOUT, sentences
without one are in WHOLE. Those in BARE have no full stop at times. 'I think Theo left the group.' is something a person wrote.
The languages are English, German, French, Spanish, Portuguese, Italian, Dutch and Polish; in others fields tell, and of a message with a
share or a medium one sentence that begins with the sender's name is Facebook's: 'mara bir ek gönderdi.'
"""
import re

YOU = ('You', 'Du', 'Vous', 'Tu', 'Você', 'Hai', 'Je', 'U')

ABOUT = (
    # Theo ...
    r"sent (?:an attachment|a (?:photo|video|link|sticker|GIF|voice message|location|live location|file)|\d+ (?:photos|videos))",
    r"(?:named|created) the group(?: .+)?|(?:changed|removed) the group (?:name|photo)|changed the group name to .+",
    r"changed the (?:chat )?(?:theme|colou?rs?)|changed the (?:chat )?(?:theme|colou?rs?) to .+",
    r"(?:set|changed) the (?:quick reaction|emoji|chat emoji) to .+|(?:set|cleared) (?:the nickname for|your nickname|\w+ own nickname).*",
    r"(?:added .+ to|removed .+ from|left|joined) the (?:group|chat|call|video call|video chat)|joined the group using .+",
    r"(?:made .+|removed .+ as) a group admin|(?:pinned|unpinned|unsent|removed) a message|turned (?:on|off) (?:member approval|disappearing|vanish).*",
    r"(?:called|waved at) (?P<who>.+)|(?:joined|left|ended) (?:a|an|the) (?:audio |video |voice )?(?:call|chat)",
    r"missed (?:your|a|an) (?:audio |video |voice )?(?:call|chat)|missed an? (?:audio |video |voice )?(?:call|chat) from .+",
    r"(?:created|started) a (?:poll|plan|reminder)|(?:created|started) a (?:poll|plan|reminder): .+|removed .+ in the poll: .+",
    r"(?:voted for|changed (?:\w+ )?vote to)(?: [\"“].+[\"”])? in the poll: .+|(?:started|stopped) sharing (?:video|(?:their |a )?(?:live )?location)",
    r"responded (?:Going|Maybe|Can['’]t Go|Not Going) to .+|named the plan .+|updated the plan (?:time|date|name|location)(?: to .+)?",
    r"(?:shared|mentioned you in) (?:a|an|their|his|her|your) (?:story|post|reel)|wasn['’]t notified about this message because .+",
    # Theo hat ..., Du hast ...
    r"ha(?:t|st) (?:einen (?:Anhang|Link|Sticker|Standort)|ein (?:Foto|Video|GIF|Bild)|eine (?:Sprachnachricht|Datei)|\d+ (?:Fotos|Videos)) gesendet",
    r"ha(?:t|st) (?:die Gruppe|den Chat) .+ (?:genannt|benannt|umbenannt)|ha(?:t|st) die Gruppe (?:erstellt|verlassen)|ist der Gruppe beigetreten",
    r"ha(?:t|st) (?:den Gruppennamen|das Gruppenfoto|das Gruppenbild|das Thema|das Design|die Chatfarben?) (?:.+ )?(?:geändert|entfernt)",
    r"ha(?:t|st) (?:das Emoji|die Schnellreaktion|(?:den|deinen|seinen|ihren) .*Spitznamen) .*(?:festgelegt|geändert|entfernt|gegeben|gelöscht)",
    r"ha(?:t|st) .+ (?:zur Gruppe hinzugefügt|aus der Gruppe entfernt|zum (?:Gruppena|A)dministrator ernannt|zum Gruppenadmin gemacht)",
    r"ha(?:t|st) (?:einen|den|deinen) (?:Anruf|Videoanruf|Audioanruf|Videochat|Video-Chat) (?:von .+ )?(?:gestartet|begonnen|beendet|verpasst)",
    r"ist dem (?:Anruf|Videoanruf|Videochat) beigetreten|hat (?:dich|dir) (?:angerufen|gewinkt|zugewinkt)",
    r"ha(?:t|st) eine (?:Nachricht (?:angepinnt|fixiert|zurückgenommen|zurückgezogen|entfernt)|Umfrage erstellt)|ha(?:t|st) eine Umfrage erstellt: .+",
    # Theo a ..., Vous avez ...
    r"(?:a|as|avez) envoyé (?:une (?:pièce jointe|photo|vidéo|position)|un (?:lien|autocollant|sticker|GIF|message vocal|fichier)|\d+ (?:photos|vidéos))",
    r"(?:a|as|avez) (?:nommé|renommé|créé|quitté|rejoint) le groupe(?: .+)?|(?:a|as|avez) (?:changé|modifié|supprimé) (?:la photo|le nom) du groupe.*",
    r"(?:a|as|avez) (?:changé|modifié|défini|choisi) (?:le thème|la couleur|les couleurs|la réaction rapide|l['’][eé]moji).*",
    r"(?:a|as|avez) (?:changé|modifié|défini|choisi|supprimé|effacé) (?:le|votre|ton|son|son propre) (?:surnom|pseudo).*",
    r"(?:a|as|avez) (?:ajouté .+ au|retiré .+ du|supprimé .+ du) groupe|(?:a|as|avez) nommé .+ administrateur.*",
    r"(?:a|as|avez) (?:démarré|commencé|lancé|rejoint|quitté|manqué) (?:un |l['’]|votre )(?:appel|chat vidéo|appel vidéo|appel audio)(?: de .+)?",
    r"vous a appelée?|(?:a|as|avez) (?:épinglé|retiré|supprimé) un message|(?:a|as|avez) créé un sondage(?: ?: .+)?",
    # Theo envió ...
    r"(?:envió|ha enviado) (?:un (?:archivo adjunto|archivo|v[ií]deo|enlace|sticker|GIF|mensaje de voz|audio)|una (?:foto|ubicación)|\d+ (?:fotos|v[ií]deos))",
    r"(?:nombró|creó|abandonó|dejó) (?:al|el) grupo(?: .+)?|salió del grupo|se unió (?:al grupo|a la llamada|a la videollamada)",
    r"(?:cambió|estableció|configuró|borró|eliminó) (?:el tema|el color|los colores|la foto del grupo|el nombre del grupo|el emoji|la reacción rápida).*",
    r"(?:cambió|estableció|configuró|borró|eliminó) (?:el|tu|su|su propio) apodo.*|(?:agregó|añadió|eliminó) a .+ (?:al|del) grupo",
    r"(?:inició|comenzó) (?:una llamada|una videollamada|un chat de video)|te llamó|perdió tu (?:video)?llamada|(?:fijó|eliminó|anuló) un mensaje",
    r"creó una encuesta|creó una encuesta: .+",
    # Theo enviou ..., Você enviou ...
    r"enviou (?:um (?:anexo|vídeo|link|GIF|áudio|sticker|arquivo|ficheiro)|uma (?:foto|figurinha|mensagem de voz|localização)|\d+ (?:fotos|vídeos))",
    r"(?:nomeou|renomeou|criou) o grupo(?: .+)?|saiu do grupo|entrou (?:no grupo|na chamada|na ligação)|adicionou .+ ao grupo|removeu .+ do grupo",
    r"(?:mudou|alterou|definiu|removeu) (?:o tema|a cor|as cores|o emoji|a reação rápida) (?:do |da |para |como ).+",
    r"(?:mudou|alterou|definiu|removeu) (?:a foto|o nome) do grupo.*|(?:mudou|alterou|definiu|removeu) (?:o|a|o seu|seu|o próprio) (?:apelido|alcunha).*",
    r"(?:iniciou|começou) (?:uma (?:chamada|ligação)(?: de vídeo)?|um bate-papo por vídeo)|ligou para você|(?:fixou|removeu) uma mensagem",
    r"perdeu (?:sua|uma) (?:chamada|ligação)(?: de vídeo)?|criou uma enquete|criou uma enquete: .+",
    # Theo ha ..., Hai ...
    r"(?:ha )?inviato (?:un (?:allegato|video|link|adesivo|messaggio vocale|file)|uno sticker|una (?:foto|GIF|posizione)|\d+ (?:foto|video))",
    r"(?:ha )?(?:chiamato|rinominato|creato|lasciato|abbandonato) il gruppo(?: .+)?|è uscit[oa] dal gruppo|si è unit[oa] (?:al gruppo|alla chiamata)",
    r"(?:ha )?(?:cambiato|modificato|impostato|rimosso|eliminato) (?:il tema|il colore|i colori|l['’]emoji|la reazione rapida) .+",
    r"(?:ha )?(?:cambiato|modificato|impostato|rimosso|eliminato) (?:la foto del gruppo|il nome del gruppo|il (?:tuo |suo |proprio )?soprannome).*",
    r"(?:ha )?(?:aggiunto .+ al|rimosso .+ dal) gruppo|(?:ha )?(?:avviato|iniziato) una (?:chiamata|videochiamata|videochat)|ti ha chiamat[oa]",
    r"(?:ha )?perso (?:la tua|una) (?:video)?chiamata(?: da .+)?|(?:ha )?(?:fissato|ritirato|rimosso) un messaggio|(?:ha )?creato un sondaggio(?:: .+)?",
    # Theo heeft ..., Je hebt ...
    r"(?:heeft|hebt) een (?:bijlage|foto|video|link|sticker|GIF|spraakbericht|locatie) (?:verzonden|gestuurd|verstuurd)",
    r"(?:heeft|hebt) de groep .+ genoemd|(?:heeft|hebt) de groep (?:verlaten|gemaakt)|(?:heeft|hebt) .+ (?:aan de groep toegevoegd|uit de groep verwijderd)",
    r"(?:heeft|hebt) (?:het thema|de kleur|de chatkleuren|de groepsfoto|de groepsnaam|de emoji|de snelle reactie) .*(?:gewijzigd|ingesteld|verwijderd)",
    r"(?:heeft|hebt) (?:de|je|zijn|haar) bijnaam .*(?:gewijzigd|ingesteld|verwijderd)|(?:heeft|hebt) een (?:peiling|poll) gemaakt(?:: .+)?",
    r"(?:heeft|hebt) (?:een|je) (?:oproep|gesprek|videogesprek|videochat)(?: van .+)? (?:gestart|gemist)|heeft je gebeld|neemt deel aan .+",
    r"(?:heeft|hebt) een bericht (?:vastgezet|ingetrokken|verwijderd)",
    # Theo wysłał ..., Ola wysłała ...
    r"wysłał(?:a|\(a\))? (?:załącznik|zdjęcie|film|link|naklejkę|GIF|wiadomość głosową|lokalizację|plik|\d+ zdję(?:cia|ć))",
    r"(?:nazwał|utworzył|opuścił)(?:a|\(a\))? grupę(?: .+)?|dodał(?:a|\(a\))? .+ do grupy|usun(?:ął|ęła|ął\(ęła\)) .+ z grupy",
    r"(?:zmienił|ustawił|wyczyścił)(?:a|\(a\))? (?:motyw|kolory?|pseudonim|emoji|szybką reakcję|zdjęcie grupy|nazwę grupy).*",
    r"dołączył(?:a|\(a\))? do (?:grupy|rozmowy|połączenia)|rozpocz(?:ął|ęła|ął\(ęła\)) (?:połączenie|rozmowę|rozmowę wideo|czat wideo)",
    r"dzwonił(?:a|\(a\))? do Ciebie|utworzył(?:a|\(a\))? ankietę(?:: .+)?|przypi(?:ął|ęła|ął\(ęła\)) wiadomość|cofn(?:ął|ęła|ął\(ęła\)) wysłanie wiadomości",
)

WHOLE = (
    r"You are now connected on Messenger|You can now (?:message|call|chat).* each other.*|Say hi to your new Facebook friend, .+",
    r"Messages and calls are secured with end-to-end encryption\..*|This poll is no longer available|Multiple people voted in the poll: .+",
    r"(?:Ihr seid|Du bist) jetzt (?:auf|über|im) Messenger verbunden|Der (?:Anruf|Videoanruf|Videochat) (?:ist|wurde) beendet",
    r"Vous êtes (?:maintenant|désormais) (?:connectés|en contact) sur Messenger|L['’]appel(?: vidéo| audio)? est terminé",
    r"Ahora están conectados en Messenger|La (?:video)?llamada (?:finalizó|terminó|ha finalizado)",
    r"(?:Enviaste|Has enviado) (?:un (?:archivo adjunto|archivo|v[ií]deo|enlace|sticker|GIF|mensaje de voz|audio)|una (?:foto|ubicación)|\d+ (?:fotos|v[ií]deos))",
    r"(?:Nombraste|Creaste) (?:al|el) grupo(?: .+)?|Saliste del grupo|(?:Agregaste|Añadiste|Eliminaste) a .+ (?:al|del) grupo|Te uniste .+",
    r"(?:Cambiaste|Estableciste|Configuraste) (?:el tema|el color|los colores|la foto del grupo|el emoji|la reacción rápida|el apodo|tu apodo) .+",
    r"Iniciaste (?:una llamada|una videollamada|un chat de video)|Perdiste una (?:video)?llamada de .+|Creaste una encuesta: .+",
    r"(?:Agora vocês|Vocês agora) estão conectados no Messenger|A (?:chamada|ligação)(?: de vídeo)? (?:foi encerrada|terminou)",
    r"Ora siete (?:collegati|connessi|in contatto) su Messenger|La (?:video)?chiamata è terminata",
    r"Jullie zijn nu verbonden (?:op|via) Messenger|(?:De oproep|Het gesprek|Het videogesprek|De videochat) is beëindigd",
    r"Wysłał(?:eś|aś|eś\(aś\)) (?:załącznik|zdjęcie|film|link|naklejkę|GIF|wiadomość głosową|lokalizację)|Wysłano załącznik",
    r"Jesteście teraz połączeni (?:na|w) Messengerze|(?:Rozmowa|Połączenie|Rozmowa wideo|Czat wideo) zakończon[aey]",
)

BARE_ABOUT = (r"started (?:a|an|the) (?:audio |video |voice )?(?:call|chat)|missed (?:your|a|an) (?:audio|video|voice) (?:call|chat)",)
BARE_WHOLE = (
    r"(?:The |Your )?(?:Audio |Video |Voice |audio |video |voice )(?:call|chat) ended|The call ended|Missed (?:audio|video|voice) (?:call|chat)",
    r"Started an? (?:audio|video|voice) (?:call|chat)",
    r"Liked a message|Gefällt eine Nachricht|A aimé un message|Le gustó un mensaje|Curtiu uma mensagem|Vindt een bericht leuk",
    r"Reacted .{1,40} to your message|Hat (?:mit )?.{1,40} auf deine Nachricht reagiert|A réagi .{1,40} à (?:votre|ton) message",
    r"Reaccionó (?:con )?.{1,40} a tu mensaje|Reagiu (?:com )?.{1,40} à sua mensagem|Ha reagito (?:con )?.{1,40} al tuo messaggio",
    r"Heeft .{1,40} gereageerd op je bericht|Zareagował(?:a|\(a\))? .{1,40} na [Tt]woją wiadomość",
)


def _compiled(sentences, bare):
    return re.compile(rf"(?:{'|'.join(sentences)})\.|(?:{'|'.join(bare)})\.?")


_ABOUT, _WHOLE = _compiled(ABOUT, BARE_ABOUT), _compiled(WHOLE, BARE_WHOLE)


def subjects(names):
    """What a line about one of `names` may begin with: 'Theo Berg ', 'Theo ', 'You '."""
    return tuple({f'{name} ': None for full in (*names, *YOU) for name in (full, full.split(' ')[0]) if name})


def is_system(text, begins):
    """Whether a text is such a line. begins: `subjects` of those in the chat."""
    text = text.strip()
    if len(text) > 400:
        return False
    if _WHOLE.fullmatch(text):
        return True
    if text.endswith(('.', ' call', ' chat')) and text.startswith(begins):
        for subject in begins:
            if text.startswith(subject) and (found := _ABOUT.fullmatch(text, len(subject))):
                who = found['who']
                return who is None or who == 'you' or f'{who} ' in begins
    return False


def is_of_media(text, name):
    """Whether a text that came with a share or a medium is one sentence about the sender, whatever its language."""
    text = text.strip()
    for subject in (name, name.split(' ')[0]):
        if subject and text.startswith(subject):
            return bool(_OF_MEDIA.fullmatch(text, len(subject)))
    return False


_OF_MEDIA = re.compile(r'[ \u3040-\u30ff\u3400-\u9fff\uac00-\ud7af][^\n.!?。！？।]{2,60}[.。।]')      # a blank, or a script that has none, behind the name
